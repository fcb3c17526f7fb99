"""The header's value: a string of structured fields (RFC 8941), as the draft has it, or the key as it is."""

import re
from typing import Final

from bedrock_chat.wire.errors import BadRequest

NAME: Final = "Idempotency-Key"
LONGEST: Final = 255

_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_ESCAPED: Final = re.compile(r'\\(["\\])')
_PRINTABLE: Final = re.compile(r"[ -~]+")


def read(value: str) -> str:
    """The key: 1 to 255 printable ASCII characters. Quoted and bare, one text is the same key. Raises BadRequest."""
    text = value.strip(" \t")
    if text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise BadRequest(f"{NAME}: the quoted text is not a string of structured fields.")
        text = _ESCAPED.sub(r"\1", quoted[1])
    if not _PRINTABLE.fullmatch(text):
        raise BadRequest(f"{NAME}: a key has printable ASCII characters, at least one.")
    if len(text) > LONGEST:
        raise BadRequest(f"{NAME}: a key has at most {LONGEST} characters.")
    return text

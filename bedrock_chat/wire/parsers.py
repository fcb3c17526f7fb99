"""Request bodies: strict JSON, in either spelling of names, of few values.

The megabytes of a body are for a few long strings. Many small values would cost a hundred times their bytes in memory,
and seconds in which the parser holds the interpreter's lock.
"""

from collections.abc import Iterator, Mapping
from typing import IO, Any

import orjson
from rest_framework.parsers import BaseParser

from bedrock_chat.database.text import is_storable
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.names import to_snake

DEEPEST = 64
MOST_STRUCTURE = 100_000
"""`[`, `{` and `,` outside of strings: as many values, about."""
MOST_QUOTES = 4 * MOST_STRUCTURE
MOST_BACKSLASHES = 16 * 1024 * 1024
"""As many as the longest text of a message could need. The parser takes ten times as long for an escape."""
LONGEST_UNICODE = 16 * 1024 * 1024
"""Bytes of a string that is not plain ASCII. One emoji makes Python use four bytes for each of its characters."""
PIECE = 1024 * 1024
FEW = 1000
"""As many of one byte are looked for one by one: beyond, counting them all is faster."""


class WireParser(BaseParser):
    """JSON as UTF-8, without NUL characters, lone surrogates, NaN or unreasonable depth; any of these is a 400."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw = stream.read()
        if (body := getattr(stream, "META", {}).get("wsgi.input")) is not None:
            body.close()  # a turn may take an hour, and must not keep what was uploaded for it
        return parse(raw)


def parse(raw: bytes) -> Any:
    """The value of a JSON text, with snake_case names. An empty text is an empty object. Raises BadRequest."""
    if not raw:
        return {}
    _refuse_structure(raw)
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    if _count(raw, b"[") + _count(raw, b"{") > DEEPEST:
        _refuse_depth(data)
    # Databases and models accept no NUL. In JSON it must be escaped, so only a body with this escape is searched. One
    # byte is found so much faster than six that a body of files is asked for the backslash first.
    if b"\\" in raw and b"\\u0000" in raw and not _is_storable(data):
        raise BadRequest("The body holds a NUL character.")
    return to_snake(data)


def _refuse_structure(raw: bytes) -> None:
    """Raises BadRequest for too many values, or a string of text that is too long. Nothing is parsed yet.

    1. Few bytes, or few structural bytes in the whole body, strings included: nothing can be too much.
    2. Else the body is read piece by piece, so that no call holds the interpreter's lock for long. The escapes that
       could hide a string's end are left out, and the piece is split at its quotes. Every second part is then outside
       of strings, up to the first error in the JSON, where the parser stops too. That takes some 10 ms per MB, so that
       a file of CSV or JSON in a text block passes.
    """
    if len(raw) <= MOST_STRUCTURE:
        return
    if len(raw) > MOST_BACKSLASHES and _count(raw, b"\\") > MOST_BACKSLASHES:
        raise BadRequest(f"The body has more than {MOST_BACKSLASHES} backslashes.")
    if _structure(raw) <= MOST_STRUCTURE and (len(raw) <= LONGEST_UNICODE or _is_plain(raw)):
        return
    structure = quotes = length = 0
    in_string, is_plain = False, True
    for piece in _pieces(raw):
        parts = piece.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
        quotes += len(parts) - 1
        structure += sum(map(_structure, parts[in_string::2]))
        if quotes > MOST_QUOTES:
            raise BadRequest(f"The body has more than {MOST_QUOTES // 2} strings.")
        if structure > MOST_STRUCTURE:
            raise BadRequest(f"The body has more than {MOST_STRUCTURE} values.")
        for number, part in enumerate(parts):
            if number:
                in_string, is_plain, length = not in_string, True, 0
            if in_string:
                length += len(part)
                is_plain = is_plain and _is_plain(part)
                if length > LONGEST_UNICODE and not is_plain:
                    raise BadRequest(f"A text in the body has more than {LONGEST_UNICODE} bytes.")


def _pieces(raw: bytes) -> Iterator[bytes]:
    """The body in pieces of about a megabyte. No escape is cut at its backslash."""
    start = 0
    while start < len(raw):
        end = start + PIECE
        piece = raw[start:end]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece += raw[end : end + 1]
        yield piece
        start += len(piece)


def _structure(piece: bytes) -> int:
    return _count(piece, b"[") + _count(piece, b"{") + _count(piece, b",")


def _count(piece: bytes, byte: bytes) -> int:
    """How often a byte stands in a piece. Where it is rare, as in a body of files, `find` is 30 times as fast."""
    if len(piece) < PIECE:
        return piece.count(byte)
    number, place = 0, piece.find(byte)
    while place >= 0 and number < FEW:
        number += 1
        place = piece.find(byte, place + 1)
    return number + piece.count(byte, place) if place >= 0 else number


def _is_plain(piece: bytes) -> bool:
    """Whether its text is ASCII: base64, for example."""
    return piece.isascii() and rb"\u" not in piece


def _refuse_depth(data: Any) -> None:
    """Raises BadRequest. Walks level by level, so that depth needs no stack. `orjson` itself stops at 1,024 levels."""
    level, depth = [data] if isinstance(data, dict | list) else [], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise BadRequest(f"The body is nested more than {DEEPEST} levels deep.")
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]


def _is_storable(data: Any) -> bool:
    if isinstance(data, str):
        return is_storable(data)
    if isinstance(data, list):
        return all(map(_is_storable, data))
    if isinstance(data, dict):
        return all(map(is_storable, data)) and all(map(_is_storable, data.values()))
    return True

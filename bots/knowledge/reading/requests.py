"""What the worker asks of a reader, and the frames that both sides write into their pipes.

A frame is the length of its head and of its body, four bytes each, then the head, which is a JSON object, and the body.
"""

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Final

LENGTHS: Final = struct.Struct(">II")
MOST_HEAD_BYTES: Final = 64 * 1024
SECOND_ENGINE: Final = "openpyxl"
"""Reads workbooks that the first engine fails at or dies of, four times slower."""
OTHER_ENGINE: Final = "other engine"
"""The outcome that asks for it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A document to be read, or some pages of a PDF to be drawn. `path` is a file that nobody changes meanwhile.

    `charset` and `url` are what the server said and where the document was fetched; both may be empty.
    `engine` names a second library, for documents that the first one has failed at.
    """

    path: str
    kind: str
    seconds: int
    most_characters: int = 0
    most_pages: int = 0
    charset: str = ""
    url: str = ""
    engine: str = ""
    drawn_pages: tuple[int, ...] = field(default=())


def frame(head: dict[str, Any], body: bytes = b"") -> bytes:
    """One frame."""
    content = json.dumps(head).encode()
    return LENGTHS.pack(len(content), len(body)) + content + body

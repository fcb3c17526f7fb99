"""The parts of a message that comes over the WebSocket."""

import codecs
import tempfile
from typing import Any

from django.conf import settings

from bedrock_chat.wire.errors import BadRequest

LARGEST_PART = 32_768  # UTF-16 units, as frontends cut them
MEGABYTE = 1024 * 1024
SPOOL_BYTES = 4 * MEGABYTE  # a larger message is kept in a temporary file


class Body:
    """The parts of a message, in any order. Their total size is limited like that of any body.

    They are kept as UTF-16, because frontends cut them by UTF-16 units: a boundary may split a surrogate pair.
    """

    def __init__(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  closed with the session
        self._parts: dict[int, tuple[int, int]] = {}  # index → where the part starts in the spool, and its bytes
        self._size = 0

    def add(self, index: Any, part: Any) -> None:
        """Keeps a part. Raises BadRequest if it is no valid part, or if the message becomes too large."""
        max_bytes = settings.MAX_BODY_MB * MEGABYTE
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= max_bytes // LARGEST_PART:
            raise BadRequest("A part needs an index, counted from 0, within the largest message.")
        if not isinstance(part, str):
            raise BadRequest("A part needs its text.")
        data = part.encode("utf-16-le", "surrogatepass")
        if len(data) > 2 * LARGEST_PART:
            raise BadRequest(f"A part holds at most {LARGEST_PART} UTF-16 units.")
        if self._size + len(data) > 2 * max_bytes:
            raise BadRequest(f"The message is larger than {settings.MAX_BODY_MB} MB.")
        self._parts[index] = self._size, len(data)
        self._spool.seek(self._size)
        self._spool.write(data)
        self._size += len(data)

    def joined(self) -> bytes:
        """The whole message as UTF-8. Raises BadRequest for a missing part, half a character, or too many bytes."""
        if not self._parts:
            raise BadRequest("The message has no parts: send BODY before END.")
        if max(self._parts) >= len(self._parts):
            raise BadRequest("Parts of the message are missing.")
        decoder = codecs.getincrementaldecoder("utf-16-le")()
        try:
            message = b"".join(decoder.decode(self._read(index)).encode() for index in range(len(self._parts)))
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise BadRequest("The message holds half a character.") from None
        if len(message) > settings.MAX_BODY_MB * MEGABYTE:
            raise BadRequest(f"The message is larger than {settings.MAX_BODY_MB} MB.")
        return message

    def _read(self, index: int) -> bytes:
        start, length = self._parts[index]
        self._spool.seek(start)
        return self._spool.read(length)

    def close(self) -> None:
        self._spool.close()

"""Reads the files of messages, images and documents, and decides what clients get for one.

A file may be lost, for example if a folder was restored from an older backup. That is logged. The file is then missing
in its conversation, which stays usable all the same (docs/DECISIONS.md).
"""

import base64
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from bedrock_chat.blobs import links, storing
from bedrock_chat.database.connections import release_connection
from bedrock_chat.wire.errors import BadRequest

logger = logging.getLogger(__name__)

INLINE, REFERENCE = "inline", "reference"
LOST_PART: Final = "(This part of a result has been lost.)"


def read_if_there(files: storing.StoredFiles, sha256: str) -> bytes | None:
    """A file's bytes, or None if it is lost."""
    try:
        return files.read(sha256)
    except FileNotFoundError:
        logger.exception("The file of blob %s is lost.", sha256)
        return None


class FileReader:
    """Reads each file once, however often the messages of one request name it. Files in memory are not read at all."""

    def __init__(self, in_memory: Mapping[str, bytes]) -> None:
        self._read: dict[str, bytes | None] = dict(in_memory)
        self._files = storing.StoredFiles()

    def expect(self, shas: Iterable[str]) -> None:
        """Looks up where files lie, so that none of them needs the database when it is read."""
        self._files.expect(set(shas) - self._read.keys())

    def size(self, sha256: str) -> int:
        """The file's size in bytes, without reading it; 0 where it is lost."""
        body = self._read.get(sha256)
        return self._files.size(sha256) if body is None else len(body)

    def remember(self, in_memory: Mapping[str, bytes]) -> None:
        """Keeps files that were made meanwhile: they need not be read."""
        self._read |= in_memory

    def __call__(self, sha256: str) -> bytes | None:
        """The file's bytes, or None if it is lost."""
        if sha256 not in self._read:
            self._read[sha256] = read_if_there(self._files, sha256)
        return self._read[sha256]


# ---- On the wire ----------------------------------------------------------------------------------------------------


class ShowFile(Protocol):
    """Gives the members that stand for a file in the JSON: `body`, and perhaps more."""

    def expect(self, shas: Iterable[str]) -> None:
        """Announces files that will be shown. If their rows are needed, they are read now, in one query."""

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, Any]: ...

    def long_part(self, sha256: str, kind: str) -> dict[str, Any]:
        """A part of a tool's result that is a blob because it is long: `text` or `json`, or where to find it."""
        ...


def read_long_part(body: bytes | None, kind: str) -> dict[str, Any]:
    """The part that a blob holds. For a lost one there is a sentence."""
    if body is None:
        return {"text": LOST_PART}
    if kind == "text":
        return {"text": body.decode(errors="replace")}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    return {"json": value} if isinstance(value, dict) else {"text": LOST_PART}


def shown_as(mode: str) -> ShowFile:
    """Files inline or by reference. Raises BadRequest for any other word."""
    match mode:
        case "inline":
            return Inline()
        case "reference":
            return ByReference()
    raise BadRequest(f"blobs: expected {INLINE} or {REFERENCE}.")


class Inline:
    """Bodies in base64.

    Storage may be a network away, so the thread's database connection is released before the first file is read. Every
    row of the response must have been read by then. The body of a lost file is empty.
    """

    def __init__(self) -> None:
        self._files = storing.StoredFiles()
        self._encoded: dict[str, str] = {}

    def expect(self, shas: Iterable[str]) -> None:
        self._files.expect(shas)

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, str]:
        if not self._encoded:
            release_connection()
        if sha256 not in self._encoded:
            self._encoded[sha256] = base64.b64encode(read_if_there(self._files, sha256) or b"").decode()
        return {"body": self._encoded[sha256]}

    def long_part(self, sha256: str, kind: str) -> dict[str, Any]:
        if not self._encoded:
            release_connection()
        return read_long_part(read_if_there(self._files, sha256), kind)


class ByReference:
    """An address of the file. No file is read, and rows only if the storage signs addresses: those name the file."""

    def __init__(self) -> None:
        self._files = storing.StoredFiles() if links.storage_signs() else None

    def expect(self, shas: Iterable[str]) -> None:
        if self._files:
            self._files.expect(shas)

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, str]:
        name = self._files.name(sha256) if self._files else None
        return {"body": "", "url": links.url(sha256, name, content_type=content_type, file_name=file_name)}

    def long_part(self, sha256: str, kind: str) -> dict[str, Any]:
        content_type, ending = ("text/plain", "txt") if kind == "text" else ("application/json", "json")
        return {kind: "" if kind == "text" else {}, "url": self(sha256, content_type, f"result.{ending}")["url"]}


class Copies:
    """Copies of the files in a folder, for an export: `body` is the copy's path, relative to the folder above it."""

    def __init__(self, folder: Path) -> None:
        self.lost: list[str] = []
        self._folder = folder
        self._files = storing.StoredFiles()

    def expect(self, shas: Iterable[str]) -> None:
        self._files.expect(shas)

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, Any]:
        target = self._folder / sha256
        if not target.exists():
            body = read_if_there(self._files, sha256)
            if body is None:
                self.lost.append(file_name)
                return {"body": "", "lost": True}
            target.write_bytes(body)
        return {"body": f"{self._folder.name}/{sha256}"}

    def long_part(self, sha256: str, kind: str) -> dict[str, Any]:
        copy = self(sha256, "", f"result.{kind}")
        return {kind: "" if kind == "text" else {}, **copy}

"""A bot with its files as a zip: `bot.json`, and `files/<SHA-256>` for each file's bytes.

A zip from a client may claim anything. Its directory is looked at first: how many entries there are, under which names
and how large, all within bounds. What is read then is never more than an entry has claimed.
"""

import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import IO, Final

from django.conf import settings

from bedrock_chat.blobs import storing
from bedrock_chat.wire.errors import BadRequest, Conflict

DOCUMENT: Final = "bot.json"
FOLDER: Final = "files/"
MEGABYTE: Final = 1024 * 1024
MOST_FILES: Final = 1000
MOST_BYTES: Final = 500 * MEGABYTE
LARGEST_DOCUMENT: Final = 12 * MEGABYTE
MOST_RATIO: Final = 100
"""To how many bytes one byte may unpack, in an entry of more than a megabyte. Text hardly reaches 20."""
FREE_BYTES: Final = 64 * MEGABYTE
TOTAL_RATIO: Final = 5
"""All together may unpack to FREE_BYTES, and to TOTAL_RATIO bytes for each byte of the zip: to unpack and digest a
megabyte takes some 4 ms of CPU, and a request may take 0.5 s and 25 ms for each megabyte of its own."""

_ENTRY = re.compile(r"files/[0-9a-f]{64}")
_END = struct.Struct("<4s4H2LH")
_END_MARK, _LARGE_MARK = b"PK\x05\x06", b"PK\x06\x07"
_LARGE_LENGTH: Final = 20
_LARGEST_DIRECTORY: Final = (MOST_FILES + 2) * 512
_ENCRYPTED: Final = 0x1
_LONGEST_SHOWN: Final = 100
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,  # a place that no file has
    struct.error,
)


class Archive:
    """A zip whose directory is sound. Raises BadRequest for any other."""

    def __init__(self, file: IO[bytes]) -> None:
        _refuse_directory(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
            raise BadRequest(f"This is no zip that can be read: {_shown(str(error))}") from None
        self._entries = _entries(self._zip.infolist(), file.seek(0, 2))

    @property
    def digests(self) -> list[str]:
        """The SHA-256 of each file, as its name says."""
        return [name.removeprefix(FOLDER) for name in self._entries if name != DOCUMENT]

    def document(self) -> bytes:
        """Raises BadRequest."""
        return self._read(DOCUMENT)

    def read(self, sha256: str) -> bytes:
        """A file's bytes, which need not have that digest. Raises BadRequest."""
        return self._read(FOLDER + sha256)

    def _read(self, name: str) -> bytes:
        entry = self._entries[name]
        body = BytesIO()  # in pieces: a large one at once would be in memory twice
        try:
            with self._zip.open(entry) as file:
                while body.tell() <= entry.file_size and (piece := file.read(MEGABYTE)):
                    body.write(piece)
        except _DAMAGED:
            raise BadRequest(f"{name}: this entry of the zip is damaged.") from None
        if body.tell() != entry.file_size:
            raise BadRequest(f"{name}: this entry of the zip is not as long as it says.")
        return body.getvalue()


def make(document: bytes, digests: Iterable[str], stored: storing.StoredFiles) -> IO[bytes]:
    """A zip in a temporary file, to be closed. It holds one file's bytes at a time in memory.

    The bytes are not packed: most documents are already, and what packs too well would not be taken back. `stored` has
    looked the files up. Raises Conflict for a lost file, and StorageUnavailable.
    """
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(DOCUMENT, _EPOCH), document)
            for sha256 in digests:
                try:
                    body = stored.read(sha256)
                except FileNotFoundError:
                    raise Conflict(f"The bytes of the file {sha256} are lost; remove it from the bot.") from None
                archive.writestr(zipfile.ZipInfo(FOLDER + sha256, _EPOCH), body)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _refuse_directory(file: IO[bytes]) -> None:
    """Raises BadRequest for a zip that does not end with a small directory. No entry of that is read yet."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _END.size - _LARGE_LENGTH))
    tail = file.read(_END.size + _LARGE_LENGTH)
    file.seek(0)
    if len(tail) < _END.size:
        raise BadRequest("This is no zip: it ends too early.")
    mark, _, _, _, count, size, offset, comment = _END.unpack(tail[-_END.size :])
    if mark != _END_MARK or comment:
        raise BadRequest("This is no zip, or one with something behind its end, such as a comment.")
    if tail.startswith(_LARGE_MARK) or offset + size + _END.size != length:
        raise BadRequest("This zip is of a large kind (zip64), or has something before its beginning.")
    if count > MOST_FILES + 2 or size > _LARGEST_DIRECTORY:
        raise BadRequest(f"This zip has more than {MOST_FILES} files, or very long names.")


def _entries(listed: list[zipfile.ZipInfo], length: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, of a zip of so many bytes. Raises BadRequest for one that no bot's zip has."""
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for entry in listed:
        # `filename` ends at the first NUL, and has `/` for each separator: what stands in the zip decides.
        name = entry.orig_filename
        if name == FOLDER and not entry.file_size:
            continue
        if name != DOCUMENT and not _ENTRY.fullmatch(name):
            raise BadRequest(f"{_shown(name)}: a bot's zip has {DOCUMENT} and files/<SHA-256>, and nothing else.")
        if name in entries:
            raise BadRequest(f"{name}: the zip has this entry twice.")
        if entry.flag_bits & _ENCRYPTED:
            raise BadRequest(f"{name}: this entry of the zip is encrypted.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadRequest(f"{name}: this entry of the zip is packed in a way that is not read here; use deflate.")
        _refuse_size(name, entry)
        total += entry.file_size
        entries[name] = entry
    if DOCUMENT not in entries:
        raise BadRequest(f"{DOCUMENT}: the zip has no such entry.")
    if len(entries) > MOST_FILES + 1:
        raise BadRequest(f"The zip has more than {MOST_FILES} files.")
    if total > MOST_BYTES:
        raise BadRequest(f"The zip unpacks to more than {MOST_BYTES // MEGABYTE} MB.")
    if total > FREE_BYTES + TOTAL_RATIO * length:
        raise BadRequest(
            f"The zip unpacks to more than {FREE_BYTES // MEGABYTE} MB and {TOTAL_RATIO} times its size; store the "
            "files as they are."
        )
    return entries


def _refuse_size(name: str, entry: zipfile.ZipInfo) -> None:
    limit = LARGEST_DOCUMENT if name == DOCUMENT else settings.UPLOAD_MB * MEGABYTE
    if entry.file_size > limit:
        raise BadRequest(f"{name}: it unpacks to more than {limit // MEGABYTE} MB.")
    if entry.file_size > MEGABYTE and entry.file_size > MOST_RATIO * entry.compress_size:
        raise BadRequest(f"{name}: it is packed more than {MOST_RATIO} times; store it as it is.")


def _shown(text: str) -> str:
    """A piece of text that a client has sent, fit for a sentence."""
    return repr(text[:_LONGEST_SHOWN])

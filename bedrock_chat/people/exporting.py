"""A person's data as one zip, sent while it is made: no copy of it stays here."""

import tempfile
import zipfile
from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any, Final

from django.db import transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import exporting, rates
from bedrock_chat.identity.caller import Caller

RATE: Final = "30/h"
CHUNK: Final = 256 * 1024


class _Sent(RawIOBase):
    """The end of the zip that is written to. What was written is taken away by `take`."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def zipped(user_id: str, *, actor: Caller) -> Iterator[bytes]:
    """The bytes of a zip with all that is stored of a person, in the files of `manage.py export_user`.

    Who takes them is recorded before the first byte. Each app's files are written into a temporary folder, sent, and
    deleted before those of the next, so the folder holds one app's at a time. No connection to the database is kept
    while the client takes its time. Raises NotFound and TooManyRequests at once.
    """
    rates.count("exports of people", by=actor.account, rate=RATE, refusal="Too many exports; wait a while.")
    folder = tempfile.TemporaryDirectory(prefix="export-")

    def record_it() -> None:
        with transaction.atomic():
            record(verbs.EXPORT_USER, user_id, actor=actor)

    try:
        parts = exporting.parts(user_id, Path(folder.name), on_begin=record_it)
    except BaseException:
        folder.cleanup()
        raise
    return _pieces(folder, parts)


def _pieces(folder: "tempfile.TemporaryDirectory[str]", parts: Iterator[Iterator[str]]) -> Iterator[bytes]:
    sent, names = _Sent(), set[str]()
    with folder, zipfile.ZipFile(sent, "w", zipfile.ZIP_DEFLATED) as archive:
        yield from _added(archive, sent, Path(folder.name), names)
        for sentences in parts:
            for _ in sentences:
                pass
            release_connection()
            yield from _added(archive, sent, Path(folder.name), names)
    yield sent.take()


def _added(archive: zipfile.ZipFile, sent: _Sent, folder: Path, names: set[str]) -> Iterator[bytes]:
    """Adds what is in the folder to the zip and takes it out of the folder. A name is added once: two apps may have
    the same file.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if name not in names:
            names.add(name)
            with path.open("rb") as source, archive.open(zipfile.ZipInfo.from_file(path, name), "w") as entry:
                while chunk := source.read(CHUNK):
                    entry.write(chunk)
                    yield sent.take()
        path.unlink()
        yield sent.take()

"""Blobs as files of this machine, in DATA_DIR."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import IO

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from bedrock_chat.blobs.waiting_files import WaitingFile

UNFINISHED = ".upload-"


def unfinished_file(folder: Path) -> IO[bytes]:
    """A new file, to be renamed or deleted. `remove_unfinished` finds it where neither happened."""
    return tempfile.NamedTemporaryFile(dir=folder, prefix=UNFINISHED, delete=False)


class LocalFiles(FileSystemStorage):
    """Files that are whole or absent: a process that is killed in mid-write leaves no half body under a blob's name."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: equal names are equal bytes, so either of two concurrent uploads may write it."""
        return name

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with unfinished_file(target.parent) as file:
            _write(content, file).replace(target)  # atomic, also over a file that a concurrent upload put there
        return name

    # ---- Files that wait, under names that are used again ----------------------------------------------------------

    def look(self, name: str) -> WaitingFile | None:
        """The file as it is now, or None."""
        try:
            return _seen(name, Path(self.path(name)).stat())
        except FileNotFoundError:
            return None

    def look_all(self, prefix: str, names: Iterable[str]) -> dict[str, WaitingFile]:
        """Those of these files that there are. Their names begin with the prefix, which other storages need."""
        return {name: waiting for name in names if (waiting := self.look(name))}

    def sha256(self, waiting: WaitingFile) -> str:
        """Raises FileNotFoundError if it is gone, or was replaced."""
        with self._open_seen(waiting) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def copy(self, waiting: WaitingFile, name: str) -> None:
        """Makes a file of the same bytes. Raises FileNotFoundError if it is gone, or was replaced."""
        with self._open_seen(waiting) as file:
            self.save(name, File(file))

    def put(self, content: File, name: str) -> Path:
        """Writes bytes to disk, for `rename` to give them that name. Bytes that are a file of that folder stay there.

        A file that is not renamed is the caller's to delete. `remove_unfinished` finds what a killed process left.
        """
        folder = Path(self.path(name)).parent
        folder.mkdir(parents=True, exist_ok=True)
        if hasattr(content, "temporary_file_path") and Path(content.temporary_file_path()).parent == folder:
            os.fsync(content.fileno())
            return Path(content.temporary_file_path())
        with unfinished_file(folder) as file:
            return _write(content, file)

    def rename(self, unfinished: Path, name: str) -> None:
        """Gives bytes that were `put` their name, over any file that has it."""
        unfinished.replace(self.path(name))

    def waiting(self, prefix: str) -> Iterator[tuple[WaitingFile, datetime]]:
        """The files whose names begin so, `folder/…`, each with the time of its last upload."""
        folder, _, beginning = prefix.rpartition("/")
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.path(folder)):
                with suppress(FileNotFoundError):
                    if entry.name.startswith(beginning):
                        status = entry.stat()
                        yield _seen(f"{folder}/{entry.name}", status), datetime.fromtimestamp(status.st_mtime, UTC)

    @contextmanager
    def _open_seen(self, waiting: WaitingFile) -> Iterator[BufferedReader]:
        with Path(self.path(waiting.name)).open("rb") as file:
            if _seen(waiting.name, os.fstat(file.fileno())) != waiting:
                raise FileNotFoundError(waiting.name)
            yield file

    def remove_unfinished(self, before: datetime) -> None:
        """Removes the unfinished files that killed processes left, if they were last written before `before`."""
        for path in Path(self.location).rglob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):  # its upload has just ended
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()


def _write(content: File, file: IO[bytes]) -> Path:
    """Writes bytes to the disk itself. A half file is deleted."""
    unfinished = Path(file.name)
    try:
        for chunk in content.chunks():
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished


def _seen(name: str, status: os.stat_result) -> WaitingFile:
    """A file is another one once it was replaced, though name and size may be the same."""
    return WaitingFile(name, status.st_size, f"{status.st_ino}-{status.st_mtime_ns}")

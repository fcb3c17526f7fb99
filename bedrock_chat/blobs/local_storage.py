"""Blobs as files of this machine, in DATA_DIR."""

import os
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

UNFINISHED = ".upload-"


class LocalFiles(FileSystemStorage):
    """Files that are whole or absent: a process that is killed in mid-write leaves no half body under a blob's name."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: equal names are equal bytes, so either of two concurrent uploads may write it."""
        return name

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=UNFINISHED, delete=False) as file:
            unfinished = Path(file.name)
            try:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                unfinished.replace(target)  # atomic, also over a file that a concurrent upload put there
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
        return name

    def remove_unfinished(self, before: datetime) -> None:
        """Removes the unfinished files that killed processes left, if they were last written before `before`."""
        for path in Path(self.location).rglob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):  # its upload has just ended
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()

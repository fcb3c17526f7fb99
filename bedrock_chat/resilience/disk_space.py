"""Whether a folder of this machine has room for what is written there, and whether an error says that it has none."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

RESERVE_BYTES = 16 * 1024 * 1024


OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
OF_DISKS = (
    *OUT_OF_SPACE,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENXIO,
    errno.ENODEV,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
)
"""What a disk answers, a quota or the system's bound of open files, whatever the file is."""
POSTGRESQL_DISK_FULL = "53100"


def is_out_of_space(error: BaseException) -> bool:
    """Whether this error of a file or a database says that a disk, or a quota, is used up."""
    if isinstance(error, OSError):
        return error.errno in OUT_OF_SPACE
    # SQLite has a sentence for it, and psycopg's error stands behind Django's.
    return "disk is full" in str(error) or getattr(error.__cause__, "sqlstate", None) == POSTGRESQL_DISK_FULL


def is_of_disk(error: BaseException) -> bool:
    """Whether this error of a file says that files cannot be used just now, and nothing about this one: it may be as it
    should.
    """
    return isinstance(error, OSError) and error.errno in OF_DISKS


def require_room(folder: Path) -> None:
    """Raises OSError: ENOSPC where less than RESERVE_BYTES is free, else what writing there causes.

    The latter finds what the free bytes do not tell: a quota, a disk without inodes, one that is read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < RESERVE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")

"""Whether a folder of this machine has room for what is written there."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

RESERVE_BYTES = 16 * 1024 * 1024


def require_room(folder: Path) -> None:
    """Raises OSError: ENOSPC where less than RESERVE_BYTES is free, else what writing there causes.

    The latter finds what the free bytes do not tell: a quota, a disk without inodes, one that is read-only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < RESERVE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")

"""The file of the key that a server on SQLite makes for itself: `encryption.key` in DATA_DIR, for its owner alone."""

import base64
import contextlib
import os
import secrets
from pathlib import Path

from django.conf import settings

from bedrock_chat.encryption.errors import KeyFileUnusable
from bedrock_chat.environment import is_encryption_key

MODE = 0o600
LONGEST_READ = 1024  # bytes; a key has 44


def path() -> Path:
    return Path(settings.DATA_DIR) / "encryption.key"


def read() -> str | None:
    """The key, or None where there is no file. Raises KeyFileUnusable: a damaged file is never replaced."""
    try:
        with path().open("rb") as file:
            content = file.read(LONGEST_READ)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileUnusable(f"{path()} cannot be read: {error.strerror}.") from None
    key = content.decode("ascii", "replace").strip()
    if not is_encryption_key(key):
        raise KeyFileUnusable(f"{path()} is damaged: it holds no key. Restore it from a backup.")
    return key


def make() -> str:
    """The key of the file, made if there is none. Of processes that make it at once, all get the same one.

    The key is written to a file of another name, which then gets the true name by a link: that fails where the name is
    taken. So a key is there whole or not at all, whenever this process is killed. Raises KeyFileUnusable.
    """
    own = path().with_name(f".{path().name}.{secrets.token_hex(8)}")
    try:
        _write(own, base64.urlsafe_b64encode(os.urandom(32)))
        try:
            with contextlib.suppress(FileExistsError):
                os.link(own, path())
        finally:
            own.unlink()
        _flush(path().parent)
    except OSError as error:
        raise KeyFileUnusable(
            f"{path()} cannot be made: {error.strerror}. Where that cannot be helped, set ENCRYPTION_KEYS."
        ) from None
    key = read()
    if key is None:
        raise KeyFileUnusable(f"{path()} was removed while it was made.")
    return key


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    with open(descriptor, "wb") as opened:  # noqa: PTH123  a descriptor, which pathlib does not open
        opened.write(content + b"\n")
        opened.flush()
        os.fsync(descriptor)


def _flush(folder: Path) -> None:
    """Has the folder's names written to the disk, so that the key outlives a power failure as its secrets do."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

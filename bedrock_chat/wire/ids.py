"""Identifiers: the ULIDs that the server makes, and the length of ids that clients choose."""

import hashlib
import threading

from ulid import ULID

ID_LENGTH = 256
"""The most characters that an id chosen by a client may have."""

ULID_BYTES = 16

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A ULID of 26 characters. The ids of one process ascend in order of creation, whatever its clock does."""
    global _last  # noqa: PLW0603  one clock per process
    number = int.from_bytes(ULID().bytes)
    with _lock:
        _last = max(number, _last + 1)
        return str(ULID.from_int(_last))


def derived_id(*parts: object) -> str:
    """An id in the form of a ULID that whoever knows the parts can tell, too. It ascends with nothing."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return str(ULID.from_bytes(digest[:ULID_BYTES]))

"""Identifiers: ULIDs, made in one place, and how long those that clients choose may be."""

import threading

from ulid import ULID

ID_LENGTH = 256
"""Characters of an id that a client chooses, at most."""

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A ULID of 26 characters. Those of one process ascend, whatever its clock does, and so order by creation."""
    global _last  # noqa: PLW0603  one clock per process
    made = int.from_bytes(ULID().bytes)
    with _lock:
        _last = max(made, _last + 1)
        return str(ULID.from_int(_last))

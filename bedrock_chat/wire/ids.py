"""Identifiers: the ULIDs that the server makes, and the length of ids that clients choose.

A ULID is a number of 128 bits, written in base 32: a time in milliseconds, and 80 bits by chance.
"""

import hashlib
import os
import threading
import time
import uuid
from io import BytesIO

ID_LENGTH = 256
"""The most characters that an id chosen by a client may have."""

ULID_BYTES = 16

_RANDOM_BYTES = 10
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none of them looks like another
_PAIRS = tuple(first + second for first in _DIGITS for second in _DIGITS)
_SHIFTS = range(120, -1, -10)
"""Two digits are ten bits, and thirteen pairs a ULID. By pairs it takes 2 µs, where python-ulid takes 50 for an id."""

_CHANCE_BYTES = 4096
"""Asked of the system at a time. During a system call another thread takes the interpreter over, which costs both of
them more than the id."""

_lock = threading.Lock()
_last = 0
_chance = BytesIO()


def _forget_chance() -> None:
    """A forked process must not make the ids that its parent makes."""
    global _chance, _lock
    _chance, _lock = BytesIO(), threading.Lock()


os.register_at_fork(after_in_child=_forget_chance)


def _by_chance(count: int) -> bytes:
    """So many bytes that nobody can foresee. To be called with the lock held."""
    global _chance  # noqa: PLW0603  of this process
    taken = _chance.read(count)
    if len(taken) < count:
        _chance = BytesIO(os.urandom(_CHANCE_BYTES))
        taken = _chance.read(count)
    return taken


def new_id() -> str:
    """A ULID of 26 characters. The ids of one process ascend in order of creation, whatever its clock does."""
    global _last  # noqa: PLW0603  one clock per process
    milliseconds = time.time_ns() // 1_000_000
    with _lock:
        number = milliseconds << 8 * _RANDOM_BYTES | int.from_bytes(_by_chance(_RANDOM_BYTES))
        _last = max(number, _last + 1)
        return _written(_last)


def new_uuid() -> str:
    """A UUID by chance, as other services number requests."""
    with _lock:
        chance = _by_chance(ULID_BYTES)
    return str(uuid.UUID(bytes=chance, version=4))


def derived_id(*parts: object) -> str:
    """An id in the form of a ULID that whoever knows the parts can tell, too. It ascends with nothing."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return _written(int.from_bytes(digest[:ULID_BYTES]))


def _written(number: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])

"""Bytes that a process holds for its callers, bounded for all of them together and for each one."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Counts bytes. One thing of any size always fits where its caller and the process hold nothing else."""

    def __init__(self, total: int, per_caller: int) -> None:
        self._total = total
        self._per_caller = per_caller
        self._lock = threading.Lock()
        self._bytes_by_caller: defaultdict[str, int] = defaultdict(int)
        self.bytes_in_use = 0
        """Bytes of all callers."""

    def take(self, caller: str, size: int) -> bool:
        """Count `size` more bytes for a caller. False, and nothing is counted, where that is too much."""
        with self._lock:
            own = self._bytes_by_caller.get(caller, 0)
            if (own and own + size > self._per_caller) or (
                self.bytes_in_use and self.bytes_in_use + size > self._total
            ):
                return False
            self.bytes_in_use += size
            self._bytes_by_caller[caller] += size
            return True

    def give_back(self, caller: str, size: int) -> None:
        with self._lock:
            self.bytes_in_use -= size
            self._bytes_by_caller[caller] -= size
            if not self._bytes_by_caller[caller]:
                del self._bytes_by_caller[caller]

    @contextmanager
    def holding(self, caller: str, size: int) -> Iterator[bool]:
        """Count bytes for the length of a block. Yields whether they fit; if not, nothing is counted."""
        taken = self.take(caller, size)
        try:
            yield taken
        finally:
            if taken:
                self.give_back(caller, size)

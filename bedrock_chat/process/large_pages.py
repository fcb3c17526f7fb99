"""The memory of a server's start in pages of 2 MB instead of 4 KB, on Linux.

A request touches code, types and tables all over some 70 MB. The processor remembers where 1,500 pages are, and looks
the others up in the kernel's tables, under a hypervisor in two of them.
"""

import contextlib
import ctypes
import os
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

SIZE_FILE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
MADV_COLLAPSE = 25
"""Of Linux 6.1: at once, whatever the system does by itself. Python's `mmap` has no name for it yet."""
PRESENT = 63
"""The bit of a page's entry in `/proc/self/pagemap` that says whether it is in memory."""
FULL_SHARE = 0.95
"""A large page takes its place whole. So one of which less is in use stays as it is."""
START_SECONDS = 5.0
"""The copy takes 20 ms of CPU, and ten times as much where a hypervisor has yet to find the memory for it. Nobody who
waits for the start is to wait for that."""


def begin() -> None:
    """Has a thread gather what this process has allocated by then, once its start is over."""
    threading.Thread(target=_gather_later, name="large pages", daemon=True).start()


def _gather_later() -> None:
    time.sleep(START_SECONDS)
    gather()


def gather() -> int:
    """Has the kernel put what this process has allocated so far into large pages. Returns how many it has made.

    The memory is copied once. Where the system cannot, nothing changes.
    """
    if sys.platform != "linux":
        return 0
    with contextlib.suppress(OSError, ValueError):
        return sum(_collapse(start, size) for start, size in _full_ranges(int(SIZE_FILE.read_text())))
    return 0


def _collapse(start: int, size: int) -> bool:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return bool(madvise(start, size, MADV_COLLAPSE) == 0)


def _full_ranges(size: int) -> Iterator[tuple[int, int]]:
    """Where a large page may begin, of which most is in memory, and its size."""
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        for first, end in list(_allocated()):
            for start in range(-(-first // size) * size, end - size + 1, size):
                if _share_in_memory(pagemap, start, size) >= FULL_SHARE:
                    yield start, size


def _allocated() -> Iterator[tuple[int, int]]:
    """The addresses of memory that is no file's: lines of `/proc/self/maps` like `7f0c-7f0d rw-p 00000000 00:00 0`."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, _, _, _, *name = line.split(maxsplit=5)
        if permissions == "rw-p" and (not name or name == ["[heap]"]):
            first, _, end = addresses.partition("-")
            yield int(first, 16), int(end, 16)


def _share_in_memory(pagemap: BinaryIO, start: int, size: int) -> float:
    page = os.sysconf("SC_PAGE_SIZE")
    pagemap.seek(start // page * 8)
    entries = array("Q", pagemap.read(size // page * 8))
    return sum(entry >> PRESENT for entry in entries) / (size // page)

"""What a server has loaded at its start lies in large pages, and memory that is hardly used takes no more for it."""

import subprocess
import sys

import pytest

from bedrock_chat.process import large_pages

MEGABYTE = 1024 * 1024
GATHER = """
import mmap
from pathlib import Path
from bedrock_chat.process import large_pages

def kilobytes(name):
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

memory = mmap.mmap(-1, {megabytes} * 1024 * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for position in range(0, len(memory), {step}):
    memory[position] = 1
before = kilobytes("Rss")
made = large_pages.gather()
print(made, kilobytes("AnonHugePages"), kilobytes("Rss") - before)
"""


def gathered(*, megabytes: int, step: int) -> tuple[int, int, int]:
    """Of a process that has touched a byte in every `step`: large pages that were made, their KB, the growth in KB."""
    code = GATHER.format(megabytes=megabytes, step=step)
    made, large, growth = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    return int(made), int(large), int(growth)


def test_memory_that_is_in_use_lies_in_large_pages() -> None:
    made, large, _ = gathered(megabytes=32, step=4096)
    if not made:
        pytest.skip("this system makes no large pages")
    assert made >= 12
    assert large >= 24 * 1024


def test_memory_that_is_hardly_used_takes_no_more() -> None:
    _, _, growth = gathered(megabytes=64, step=MEGABYTE)
    assert growth < 8 * 1024


def test_where_a_system_has_no_large_pages_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "SIZE_FILE", large_pages.SIZE_FILE.with_name("nothing"))
    assert large_pages.gather() == 0

"""What a request costs the server: CPU, memory, and the interpreter's lock, read from outside."""

import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.live import LiveServer

MEGABYTE = 1024 * 1024
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu` and `lock` in seconds, `memory` in bytes."""

    cpu: float
    memory: int
    lock: float


USUAL = 0.12
"""Seconds of CPU that `slowness` takes on the machine that the bounds were found on."""


def slowness() -> float:
    """How much slower than that machine this one is just now, which shares its cores and caches; at least 1."""
    before = time.process_time()
    total = 0
    for number in range(1_000_000):
        total += number % 7
    return max(1.0, (time.process_time() - before) / USUAL)


def allowed(size: int, slower: float) -> Cost:
    """What a request of a signed-in user may cost, by its size in bytes, on a core that is so many times slower."""
    megabytes = size / MEGABYTE
    return Cost(
        cpu=(0.5 + 0.025 * megabytes) * slower,
        memory=64 * MEGABYTE + 4 * size,
        lock=(0.2 if megabytes <= 32 else 0.2 + 0.006 * (megabytes - 32)) * slower,
    )


class Meter:
    """Measures a server of one process that runs with `tests.hostile.metered`."""

    def __init__(self, server: LiveServer, lock_meter: Path) -> None:
        self.proc = Path(f"/proc/{server.process.pid}")
        self.lock_meter = lock_meter

    def cost(self, act: Callable[[], None]) -> Cost:
        """What it costs to do this. It includes what the server does after its response, until it rests."""
        with self.lock_meter.open("r+b") as file:
            file.write(struct.pack("d", 0))
        (self.proc / "clear_refs").write_text("5")  # the peak of the memory is measured from here
        cpu, memory = self._cpu(), self.memory()
        act()
        self._rest()
        (lock,) = struct.unpack("d", self.lock_meter.read_bytes())
        return Cost(self._cpu() - cpu, self._memory("VmHWM") - memory, lock)

    def memory(self) -> int:
        """Resident memory in bytes."""
        return self._memory("VmRSS")

    def _rest(self) -> None:
        """Returns when the process has used next to no CPU time for a moment."""
        for _ in range(200):
            before = self._cpu()
            time.sleep(0.05)
            if self._cpu() - before <= 1 / TICKS:
                return

    def _cpu(self) -> float:
        fields = (self.proc / "stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _memory(self, name: str) -> int:
        return memory_of(self.proc, name)


def memory_of(proc: Path, name: str) -> int:
    """Bytes of a process's memory: `VmRSS` now, `VmHWM` at most since it began or `clear_refs` was written."""
    for line in (proc / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)

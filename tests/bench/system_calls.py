"""The system calls of a turn, counted by strace where it is installed and may attach to the server."""

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.subjects import Subject

NAMES = ("pread64", "pwrite64", "fcntl", "futex", "clock_nanosleep", "fdatasync")


def measure(subject: Subject, turns: int) -> dict[str, Any]:
    """The calls for each of so many turns at 16 connections: those of NAMES, and `all`. strace slows the server, so
    nothing else is measured meanwhile.
    """
    strace = shutil.which("strace")
    if strace is None:
        return {"skipped": "there is no strace"}
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-strace-") as folder:
        summary = Path(folder) / "summary"
        command: Any = [strace, "-c", "-f", "-o", str(summary), "-p", str(subject.server.process.pid)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        first_line = process.stderr.readline()
        if " attached" not in first_line:
            process.wait()
            return {"skipped": first_line.strip()}
        try:
            subject.sample(16, turns, lambda c, n: subject.ask(c, f"traced-{n}"))
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
        counts = _counts(summary.read_text())
    return {
        "turns": turns,
        **{name: round(counts.get(name, 0) / turns, 2) for name in NAMES},
        "all": round(counts["total"] / turns, 1),
    }


def _counts(summary: str) -> dict[str, int]:
    """Calls by name, and their `total`. A line has % time, seconds, µs a call, calls, errors (or nothing), the name."""
    rows = [line.split() for line in summary.splitlines()]
    return {row[-1]: int(row[3]) for row in rows if len(row) >= 5 and row[3].isdigit()}

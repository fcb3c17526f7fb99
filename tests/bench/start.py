"""`make bench-start BASE=rev`: what a start costs in this checkout and in another revision, as JSON on stdout.

Three figures: the CPU of `manage.py serve` until the first `/health` is answered, its resident memory then, and the CPU
of `manage.py check`. Each checkout has an empty database of its own on embedded defaults. docs/PERFORMANCE.md says how
to read them.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.compare import checkout, ratio, say
from tests.bench.processes import LOAD_CORE, ROOT, SERVER_CORE, Process, environment, manage, ready

ROUNDS = 9


@dataclass(frozen=True)
class Start:
    """One round of one checkout."""

    serve_cpu: float  # ms
    check_cpu: float  # ms
    resident: float  # MB of a million bytes


FIGURES: dict[str, Callable[[Start], float]] = {
    "serveCpuMs": lambda start: start.serve_cpu,
    "checkCpuMs": lambda start: start.check_cpu,
    "residentMB": lambda start: start.resident,
}


@contextlib.contextmanager
def migrated(root: Path) -> Iterator[Callable[[], Start]]:
    """Yields what measures one round of a checkout."""
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        env = environment(Path(folder))
        manage(env, "migrate", "--verbosity", "0", root=root)
        yield lambda: _start(root, env)


def _start(root: Path, env: dict[str, str]) -> Start:
    with Process("manage.py", "serve", core=SERVER_CORE, environment=env, root=root) as server:
        ready(server.url)
        serve_cpu, resident = server.cpu, server.resident
    return Start(serve_cpu * 1000, _check_cpu(root, env) * 1000, resident / 1e6)


def _check_cpu(root: Path, env: dict[str, str]) -> float:
    """CPU seconds of `manage.py check`. Raises RuntimeError if it fails."""
    command = [sys.executable, "manage.py", "check"]
    check = subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.sched_setaffinity(check.pid, SERVER_CORE)
    _, status, usage = os.wait4(check.pid, 0)
    check.returncode = os.waitstatus_to_exitcode(status)
    if check.returncode:
        raise RuntimeError(f"`manage.py check` failed in {root}")
    return usage.ru_utime + usage.ru_stime


def measure(base: Callable[[], Start], change: Callable[[], Start], rounds: int) -> list[tuple[Start, Start]]:
    """The starts of both, round by round; which goes first changes every time. The first round compiles bytecode."""
    starts = []
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}" if number else "warming up")
        if number % 2:
            ours, theirs = change(), base()
        else:
            theirs, ours = base(), change()
        if number:
            starts.append((theirs, ours))
    return starts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the revision to compare with")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="two rounds: whether it runs, not how fast")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    os.sched_setaffinity(0, LOAD_CORE)
    with checkout(options.base) as root, migrated(root) as base, migrated(ROOT) as change:
        starts = measure(base, change, rounds)
    figures = {name: ratio([(read(theirs), read(ours)) for theirs, ours in starts]) for name, read in FIGURES.items()}
    print(json.dumps({"base": options.base, "rounds": rounds, "figures": figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make bench-compare BASE=rev`: this checkout against another revision, as one JSON document on stdout.

Both servers run on one core with a database of their own; the legs of `make bench` are sent to one and then to the
other, round by round, and which of them goes first changes every time. docs/PERFORMANCE.md says how to read it.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.bench import subjects
from tests.bench.processes import LOAD_CORE, ROOT, postgresql
from tests.bench.progress import say
from tests.bench.subjects import Sample, Subject

LEGS: dict[str, Callable[[Subject, int], Sample]] = {
    "health": lambda subject, _: subject.health(),
    "open": lambda subject, _: subject.open(),
    "list": lambda subject, _: subject.list(),
    "turn1000": lambda subject, _: subject.turn_1000(),
    "turn c1": lambda subject, number: subject.turn(number, 1),
    "turn c16": lambda subject, number: subject.turn(number, 16),
    "sse c16": lambda subject, number: subject.sse(number, 16),
}

READING = {"open", "list"}
"""The legs whose cost depends on how many conversations there are."""


@dataclass(frozen=True)
class Figure:
    """Something that a sample tells, None where it was not measured. `unit` ends the names of its values."""

    read: Callable[[Sample], float | None]
    unit: str = "Ms"


FIGURES = {
    "cpu": Figure(lambda sample: sample.cpu),
    "backendCpu": Figure(lambda sample: sample.backend_cpu),
    "p50": Figure(lambda sample: sample.p50),
    "p95": Figure(lambda sample: sample.p95),
    "p99": Figure(lambda sample: sample.p99),
    "requests": Figure(lambda sample: sample.per_second, "PerSecond"),
}

Rounds = dict[str, list[tuple[Sample, Sample]]]
"""Leg → for each round the samples of the base and of this checkout."""


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """The files of a revision, in a folder of their own. They run with this checkout's virtual environment."""
    command = ["git", "archive", "--format=tar", revision]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-base-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def measure(base: Subject, change: Subject, rounds: int, legs: list[str]) -> Rounds:
    """Sends both subjects through the legs. The first round only warms them up."""
    samples: Rounds = {name: [] for name in legs}
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}" if number else "warming up")
        for name in legs:
            leg = LEGS[name]
            if number % 2:
                ours, theirs = leg(change, number), leg(base, number)
            else:
                theirs, ours = leg(base, number), leg(change, number)
            if number:
                samples[name].append((theirs, ours))
    return samples


def compared(samples: Rounds) -> dict[str, dict[str, Any]]:
    """For each figure the ratio ours / theirs: its median over the rounds, and its quartiles."""
    return {
        name: {key: row for key, figure in FIGURES.items() if (row := _ratio(rounds, figure))}
        for name, rounds in samples.items()
    }


def _ratio(rounds: list[tuple[Sample, Sample]], figure: Figure) -> dict[str, Any]:
    """Empty if the figure was not measured."""
    values = [(figure.read(theirs), figure.read(ours)) for theirs, ours in rounds]
    pairs = [(theirs, ours) for theirs, ours in values if theirs is not None and ours is not None]
    if len(pairs) < len(rounds):
        return {}
    row = ratio(pairs)
    return {
        "ratio": row["ratio"],
        "spread": row["spread"],
        f"base{figure.unit}": row["base"],
        f"change{figure.unit}": row["change"],
    }


def ratio(rounds: list[tuple[float, float]]) -> dict[str, Any]:
    """The ratio ours / theirs: its median over the rounds, its quartiles, and the medians of both sides."""
    low, middle, high = statistics.quantiles([ours / theirs for theirs, ours in rounds], n=4, method="inclusive")
    return {
        "ratio": round(middle, 3),
        "spread": [round(low, 3), round(high, 3)],
        "base": round(statistics.median(theirs for theirs, _ in rounds), 3),
        "change": round(statistics.median(ours for _, ours in rounds), 3),
    }


def table(figures: dict[str, dict[str, Any]]) -> str:
    lines = [f"{'':10} {'':10} {'ratio':>6}  {'spread':^13} {'base':>9} {'change':>9}"]
    for name, legs in figures.items():
        for key, row in legs.items():
            low, high = row["spread"]
            unit, sign = FIGURES[key].unit, {"Ms": "ms", "PerSecond": "/s"}[FIGURES[key].unit]
            medians = f"{row[f'base{unit}']:6.2f} {sign} {row[f'change{unit}']:6.2f} {sign}"
            lines.append(f"{name:10} {key:10} {row['ratio']:6.2f}  {low:5.2f} - {high:5.2f} {medians}")
    return "\n".join(lines)


def chosen(names: str) -> list[str]:
    """The legs of a list with commas. Raises ArgumentTypeError for a name that no leg has."""
    legs = [name.strip() for name in names.split(",")]
    if unknown := [name for name in legs if name not in LEGS]:
        raise argparse.ArgumentTypeError(f"no such leg: {', '.join(unknown)}; there are {', '.join(LEGS)}")
    return legs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the revision to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--legs", type=chosen, default=list(LEGS), help='some of the legs: "turn c16,turn c1"')
    parser.add_argument("--postgresql", action="store_true", help="both on PostgreSQL, each in a database of its own")
    options = parser.parse_args()
    size = subjects.QUICK if options.quick else replace(subjects.FULL, rounds=options.rounds)
    if not READING.intersection(options.legs):
        size = subjects.with_few_conversations(size)
    os.sched_setaffinity(0, LOAD_CORE)
    database = "postgresql" if options.postgresql else "sqlite"
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(checkout(options.base))
        bedrock = stack.enter_context(subjects.static_bedrock())
        base, change = (
            stack.enter_context(
                subjects.serving(
                    bedrock, size, folder, stack.enter_context(postgresql()) if options.postgresql else None
                )
            )
            for folder in (root, ROOT)
        )
        figures = compared(measure(base, change, size.rounds, options.legs))
    say(table(figures))
    document = {"base": options.base, "database": database, "rounds": size.rounds, "figures": figures}
    print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

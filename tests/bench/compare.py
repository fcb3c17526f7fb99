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
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import subjects
from tests.bench.processes import LOAD_CORE, ROOT
from tests.bench.subjects import Sample, Subject

LEGS: dict[str, Callable[[Subject, int], Sample]] = {
    "health": lambda subject, _: subject.health(),
    "open": lambda subject, _: subject.open(),
    "list": lambda subject, _: subject.list(),
    "turn1000": lambda subject, _: subject.turn_1000(),
    "turn c1": lambda subject, number: subject.turn(number, 1),
    "turn c16": lambda subject, number: subject.turn(number, 16),
}
FIGURES: dict[str, Callable[[Sample], float]] = {
    "cpu": lambda sample: sample.cpu,
    "p50": lambda sample: sample.p50,
    "p95": lambda sample: sample.p95,
}

Rounds = dict[str, list[tuple[Sample, Sample]]]
"""Leg → for each round the samples of the base and of this checkout."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """The files of a revision, in a folder of their own. They run with this checkout's virtual environment."""
    command = ["git", "archive", "--format=tar", revision]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-base-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def measure(base: Subject, change: Subject, rounds: int) -> Rounds:
    """Sends both subjects through every leg. The first round only warms them up."""
    samples: Rounds = {name: [] for name in LEGS}
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}" if number else "warming up")
        for name, leg in LEGS.items():
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
        name: {figure: _ratio(rounds, read) for figure, read in FIGURES.items()} for name, rounds in samples.items()
    }


def _ratio(rounds: list[tuple[Sample, Sample]], read: Callable[[Sample], float]) -> dict[str, Any]:
    row = ratio([(read(theirs), read(ours)) for theirs, ours in rounds])
    return {"ratio": row["ratio"], "spread": row["spread"], "baseMs": row["base"], "changeMs": row["change"]}


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
    lines = [f"{'':10} {'':4} {'ratio':>6}  {'spread':^13} {'base':>9} {'change':>9}"]
    for name, legs in figures.items():
        for figure, row in legs.items():
            low, high = row["spread"]
            medians = f"{row['baseMs']:6.2f} ms {row['changeMs']:6.2f} ms"
            lines.append(f"{name:10} {figure:4} {row['ratio']:6.2f}  {low:5.2f} - {high:5.2f} {medians}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base", help="the revision to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    options = parser.parse_args()
    size = subjects.QUICK if options.quick else replace(subjects.FULL, rounds=options.rounds)
    os.sched_setaffinity(0, LOAD_CORE)
    with (
        checkout(options.base) as root,
        subjects.static_bedrock() as bedrock,
        subjects.serving(bedrock, size, root) as base,
        subjects.serving(bedrock, size) as change,
    ):
        figures = compared(measure(base, change, size.rounds))
    say(table(figures))
    print(json.dumps({"base": options.base, "rounds": size.rounds, "figures": figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

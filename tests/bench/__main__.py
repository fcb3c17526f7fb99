"""`make bench`: ratios measured in one run, as one JSON document on stdout. docs/PERFORMANCE.md says how to read it."""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable
from typing import Any

from tests.bench import load, subjects
from tests.bench.processes import LOAD_CORE, SERVER_CORE, Process
from tests.bench.subjects import Sample, Subject


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def floor(raw: Process, requests: int, messages: int) -> tuple[float, float]:
    """CPU and wall ms of one raw `converse`."""
    process = raw.process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{requests} {messages}\n")
    process.stdin.flush()
    cpu, wall = map(float, process.stdout.readline().split())
    return cpu / requests * 1000, wall / requests * 1000


def turns(subject: Subject, raw: Process) -> dict[str, Any]:
    """New conversations of one turn, at 1 and 16 connections, interleaved with the floor."""
    size = subject.size
    floors: list[tuple[float, float]] = []
    samples: dict[int, list[Sample]] = {1: [], 16: []}
    for number in range(size.rounds):
        say(f"turns: round {number + 1} of {size.rounds}")
        floors.append(floor(raw, size.requests, 1))
        for connections, rounds in samples.items():
            rounds.append(subject.turn(number, connections))
    return {
        "raw": {"cpuMs": _median(cpu for cpu, _ in floors), "wallMs": _median(wall for _, wall in floors)},
        **{f"c{connections}": _turn(rounds, floors) for connections, rounds in samples.items()},
    }


def turn_1000(subject: Subject, raw: Process) -> dict[str, Any]:
    """Turn 1,000, interleaved with the floor of the same payload."""
    size = subject.size
    floors, rounds = [], []
    for number in range(size.rounds):
        say(f"turn 1,000: round {number + 1} of {size.rounds}")
        floors.append(floor(raw, size.long_requests, subjects.LONG))
        rounds.append(subject.turn_1000())
    return {"raw": {"cpuMs": _median(cpu for cpu, _ in floors)}, "c1": _turn(rounds, floors)}


def reads(subject: Subject) -> dict[str, Any]:
    """Listing and opening, in a database of many conversations."""
    say("listing and opening")
    empty = subject.health().cpu
    listed = len(subject.get("/conversations"))
    figures: dict[str, Any] = {"conversations": listed, "messagesEach": 20, "health": {"cpuMs": round(empty, 3)}}
    for name, sample in (("list", subject.list()), ("open", subject.open())):
        figures[name] = {
            "cpuMs": round(sample.cpu, 3),
            "bytes": sample.size,
            "ratioToHealth": round(sample.cpu / empty, 1),
            **_percentiles(sample.latencies),
        }
    return figures


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)


def _percentiles(latencies: list[float]) -> dict[str, float]:
    return {f"p{share}Ms": round(load.percentile(latencies, share / 100), 2) for share in (50, 95)}


def _turn(rounds: list[Sample], floors: list[tuple[float, float]]) -> dict[str, float]:
    """Medians over rounds; the ratio is taken round by round, against the floor measured beside it."""
    ratios = [sample.cpu / cpu for sample, (cpu, _) in zip(rounds, floors, strict=True)]
    return {
        "cpuMs": _median(sample.cpu for sample in rounds),
        "cpuRatioToRaw": round(statistics.median(ratios), 2),
        **_percentiles(sorted(latency for sample in rounds for latency in sample.latencies)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    size = subjects.QUICK if parser.parse_args().quick else subjects.FULL
    os.sched_setaffinity(0, LOAD_CORE)
    say(f"writing {size.conversations} conversations")
    with (
        subjects.static_bedrock() as bedrock,
        subjects.serving(bedrock, size) as subject,
        Process("-m", "tests.bench.raw", bedrock, core=SERVER_CORE) as raw,
    ):
        read_figures = reads(subject)  # first, because every turn below adds a conversation to the list
        subject.sample(16, 64, lambda c, n: subject.ask(c, f"warm-{n}"))
        floor(raw, 20, 1)
        figures = {"turn": turns(subject, raw), "read": read_figures, "turn1000": turn_1000(subject, raw)}
    print(
        json.dumps({"machine": _machine(), "size": "quick" if size is subjects.QUICK else "full", **figures}, indent=1)
    )
    return 0


def _machine() -> dict[str, Any]:
    return {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}


if __name__ == "__main__":
    sys.exit(main())

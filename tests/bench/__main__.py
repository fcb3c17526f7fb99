"""`make bench`: ratios measured in one run, as one JSON document on stdout. docs/PERFORMANCE.md says how to read it."""

import argparse
import contextlib
import json
import os
import platform
import sys
from typing import Any

from tests.bench import bots, litellm_proxy, pages, subjects, system_calls, turns
from tests.bench.goals import Goal, judged
from tests.bench.processes import LOAD_CORE, SERVER_CORE, Process, postgresql_or_reason
from tests.bench.progress import say
from tests.bench.subjects import Size, Subject


def turn_1000(subject: Subject, raw: Process) -> dict[str, Any]:
    """Turn 1,000, interleaved with the floor of the same payload."""
    size = subject.size
    floors, rounds = [], []
    for number in range(size.rounds):
        say(f"turn 1,000: round {number + 1} of {size.rounds}")
        floors.append(turns.floor(raw, size.long_requests, subjects.LONG)[0])
        rounds.append(subject.turn_1000())
    return {"raw": {"cpuMs": turns.median(floors)}, "c1": turns.turn(rounds, floors)}


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
            **turns.percentiles(sample.latencies),
        }
    return figures


def goals(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals of what was measured, and whether each is met."""
    turn, postgresql, litellm = figures["turn"], figures["postgresql"], figures["litellm"]
    rows: list[Goal] = []
    for leg, name, most in (
        ("c1", "turn, 1 connection", 3.0),
        ("c16", "turn, 16 connections", 3.2),
        ("sseC16", "turn over SSE, 16 connections", 4.0),
    ):
        rows.append((f"{name}: CPU / raw converse", turn[leg]["cpuRatioToRaw"], "<=", most))
        if leg != "c1":
            rows.append((f"{name}: p95 / p50", turn[leg]["p95OverP50"], "<=", 2.5))
    if "skipped" not in postgresql:
        for leg, name in (("c1", "1 connection"), ("c16", "16 connections")):
            rows.append(
                (f"turn on PostgreSQL, {name}: CPU / raw converse", postgresql[leg]["cpuRatioToRaw"], "<=", 4.0)
            )
    if "skipped" not in litellm:
        rows.append(("requests per second / LiteLLM's", litellm["oursPerSecondRatio"], ">=", 5.5))
    rows.append(("pages in SQLite's log for a turn", figures["pages"]["walPagesPerTurn"], "<=", 15))
    of_bots = figures["bots"]
    rows.append(("turn with a bot / turn without: CPU", of_bots["turn"]["ratioToWithout"], "<=", 1.1))
    rows.append(("30 of many bots / 30 conversations, listed: CPU", of_bots["list"]["ratioToConversations"], "<=", 3))
    return judged(rows)


def measure(size: Size, bedrock: str, litellm: str) -> dict[str, Any]:
    """All figures of a run. PostgreSQL is skipped if there is no server, LiteLLM's proxy if `litellm` names none."""
    with contextlib.ExitStack() as stack:
        floors = [
            stack.enter_context(Process("-m", f"tests.bench.{module}", bedrock, *arguments, core=SERVER_CORE))
            for module, arguments in (("raw", ()), ("raw_streams", ("1",)))
        ]
        say(f"writing {size.conversations} conversations")
        sqlite = stack.enter_context(subjects.serving(bedrock, size))
        read = reads(sqlite)  # first, because every turn below adds a conversation to the list
        servers = {"sqlite": sqlite}
        url, reason = stack.enter_context(postgresql_or_reason())
        if url is not None:
            fewer = subjects.with_few_conversations(size)
            say(f"writing {fewer.conversations} conversations on PostgreSQL")
            servers["postgresql"] = stack.enter_context(subjects.serving(bedrock, fewer, database_url=url))
        proxy = stack.enter_context(litellm_proxy.running(litellm, bedrock)) if litellm else None
        figures = turns.measure(servers, turns.Floors(bedrock, *floors), proxy, size)
        say("pages and system calls")
        counted = {
            "pages": pages.measure(sqlite, size.counted),
            "systemCalls": system_calls.measure(sqlite, size.counted),
        }
        return {
            "turn": {"raw": figures["raw"], "rawStream": figures["rawStream"], **figures["sqlite"]},
            "postgresql": figures.get("postgresql", {"skipped": reason}),
            "litellm": figures.get("litellm", {"skipped": "--litellm names no proxy"}),
            **counted,
            "read": read,
            "turn1000": turn_1000(sqlite, floors[0]),
            "bots": bots.measure(sqlite),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--litellm", default="", help="the executable of LiteLLM's proxy, to be measured too")
    options = parser.parse_args()
    size = subjects.QUICK if options.quick else subjects.FULL
    os.sched_setaffinity(0, LOAD_CORE)
    with subjects.static_bedrock() as bedrock:
        figures = measure(size, bedrock, options.litellm)
    name = "quick" if size is subjects.QUICK else "full"
    print(json.dumps({"machine": _machine(), "size": name, "goals": goals(figures), **figures}, indent=1))
    return 0


def _machine() -> dict[str, Any]:
    return {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}


if __name__ == "__main__":
    sys.exit(main())

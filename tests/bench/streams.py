"""`make bench-stream`: what streaming costs, in ratios measured in one run, as one JSON document on stdout.

docs/PERFORMANCE.md says how to read it.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import listen
from tests.bench.clock_model import Model
from tests.bench.goals import Goal, judged
from tests.bench.listen import Question, Transcript
from tests.bench.processes import LOAD_CORE, SERVER_CORE, Process, environment, manage, postgresql_or_reason, ready
from tests.bench.progress import say

NEVER = "86400"  # seconds between checkpoints


@dataclass(frozen=True)
class Kind:
    """So many streams of so many deltas, one every `pace` seconds. The questions are spread over `opening` seconds."""

    streams: int
    deltas: int
    pace: float = 0.0
    opening: float = 0.0
    times: int = 1  # runs that count as one measurement


@dataclass(frozen=True)
class Size:
    rounds: int
    paced: Kind
    burst: Kind
    fast: Kind
    many: Kind


FULL = Size(
    rounds=3,
    paced=Kind(64, 300, 0.02, 0.6),
    burst=Kind(8, 2_000, times=8),
    fast=Kind(100, 300, 0.02, 1.0),
    many=Kind(440, 60, 0.2, 4.0),
)
QUICK = Size(
    rounds=1,
    paced=Kind(8, 50, 0.02, 0.1),
    burst=Kind(4, 500, times=4),
    fast=Kind(10, 50, 0.02, 0.1),
    many=Kind(20, 20, 0.1, 0.2),
)


@dataclass
class Server:
    process: Process
    token: str


class Leg:
    """One measurement: what the clients received, and what it cost the server."""

    def __init__(self, kind: Kind, server: Server, transcripts: list[Transcript], cpu: float, wall: float) -> None:
        self.kind, self.server, self.transcripts, self.cpu, self.wall = kind, server, transcripts, cpu, wall
        self.deltas = sum(len(transcript.stamps) for transcript in transcripts)
        self.whole = sum(transcript.is_whole(kind.deltas) for transcript in transcripts)
        for failure in {transcript.failure for transcript in transcripts if transcript.failure}:
            say(f"a stream failed: {failure}")

    @property
    def cost(self) -> float:
        """Microseconds of CPU for each delta that arrived. They include the opening and closing of its turn."""
        return self.cpu / max(1, self.deltas) * 1e6

    def figures(self) -> dict[str, Any]:
        lag = listen.lags(self.transcripts)
        return {"complete": self.whole, "streams": len(self.transcripts), "deltas": self.deltas, "lag": lag}


class Bench:
    def __init__(self, size: Size, model: Model, raw: Process) -> None:
        self.size, self.model, self.raw = size, model, raw
        self._legs = 0

    def listen(
        self, server: Server, kind: Kind, over: str = "ws", *, leaving: int = 0, meanwhile: Any = None
    ) -> tuple[Leg, dict[str, float]]:
        """Runs the streams of a kind. Returns the leg, and how late the model was. One client in `leaving` vanishes."""
        self.model.plan(kind.deltas, kind.pace)
        transcripts: list[Transcript] = []
        cpu, wall = server.process.cpu, time.perf_counter()
        for _ in range(kind.times):
            self._legs += 1
            questions = [
                Question(
                    f"stream-{self._legs}-{number}",
                    leaves_after=1 + number % (kind.deltas - 1) if leaving and number % leaving == 0 else 0,
                )
                for number in range(kind.streams)
            ]
            transcripts += listen.run(
                server.process.url,
                server.token,
                questions,
                over=over,
                opening_seconds=kind.opening,
                meanwhile=meanwhile,
            )
        leg = Leg(kind, server, transcripts, server.process.cpu - cpu, time.perf_counter() - wall)
        return leg, self.model.lateness()

    def floor(self, kind: Kind, threads: int) -> float:
        """Microseconds of CPU that boto3 takes for a delta."""
        self.model.plan(kind.deltas, kind.pace)
        cpu, _, deltas = self.raw.measure(f"{kind.streams * kind.times} {threads}")
        return cpu / deltas * 1e6

    def throughput(self, server: Server, name: str, kind: Kind, threads: int) -> dict[str, Any]:
        """What a delta costs over the WebSocket and over SSE. Each round also measures the floor."""
        floors: list[float] = []
        legs: dict[str, list[Leg]] = {"ws": [], "sse": []}
        late = []
        for number in range(self.size.rounds):
            say(f"{name}: round {number + 1} of {self.size.rounds}")
            floors.append(self.floor(kind, threads))
            for over, rounds in legs.items():
                leg, lateness = self.listen(server, kind, over)
                rounds.append(leg)
                late.append(lateness["p95Ms"])
        figures: dict[str, Any] = {"streams": kind.streams, "deltas": kind.deltas, "paceMs": kind.pace * 1000}
        figures["raw"] = _cost(statistics.median(floors))
        for over, rounds in legs.items():
            transcripts = [transcript for leg in rounds for transcript in leg.transcripts]
            deltas, frames = sum(leg.deltas for leg in rounds), sum(transcript.frames for transcript in transcripts)
            figures[over] = {  # a burst has no lags: its stamps tell only the order
                **_cost(statistics.median(leg.cost for leg in rounds)),
                "cpuRatioToRaw": _ratio(leg.cost / floor for leg, floor in zip(rounds, floors, strict=True)),
                "complete": sum(leg.whole for leg in rounds),
                "streams": len(transcripts),
                "deltasPerFrame": round(deltas / frames, 2),
                **({"lag": listen.lags(transcripts)} if kind.pace else {}),
            }
        if kind.pace:
            figures["modelLateP95Ms"] = max(late)
        return figures

    def fast(self, server: Server) -> dict[str, Any]:
        """How late the deltas of fast streams arrive; in full size one is due every 20 ms."""
        say(f"{self.size.fast.streams} streams of a delta every {self.size.fast.pace * 1000:.0f} ms")
        leg, lateness = self.listen(server, self.size.fast)
        figures = {**leg.figures(), "lagWhileAllOpen": listen.lags(leg.transcripts, all_open=True)}
        return {**figures, "serverCoreShare": round(leg.cpu / leg.wall, 2), "modelLate": lateness}

    def many(self, server: Server, leaving: int = 0) -> dict[str, Any]:
        """As many streams as a process takes: the memory for each, and whether all answers are stored whole."""
        before, most = server.process.resident, [0]
        note = lambda: most.append(server.process.resident)  # noqa: E731
        leg, lateness = self.listen(server, self.size.many, leaving=leaving, meanwhile=note)
        note()
        staying = [transcript for transcript in leg.transcripts if not transcript.question.leaves_after]
        return {
            **leg.figures(),
            "vanished": len(leg.transcripts) - len(staying),
            "openAtOnce": listen.open_at_once(leg.transcripts),
            "storedWhole": _stored_whole(leg),
            "memoryGrowthPerStreamKiB": round((max(most) - before) / 1024 / len(leg.transcripts), 1),
            "cpuUsPerDelta": round(leg.cost, 1),
            "serverCoreShare": round(leg.cpu / leg.wall, 2),
            "modelLate": lateness,
        }

    def checkpoints(self, often: Server, never: Server) -> dict[str, Any]:
        """The same many streams with and without checkpoints, alternately. The first leg's figures are `sqlite`."""
        first_figures: dict[str, Any] = {}
        pairs: list[tuple[float, float]] = []
        for number in range(self.size.rounds):
            costs = {}
            for server in (often, never) if number % 2 == 0 else (never, often):
                with_them = "with" if server is often else "without"
                say(f"{self.size.many.streams} streams, {with_them} checkpoints: round {number + 1}")
                figures = self.many(server)
                first_figures = first_figures or figures
                costs[with_them] = figures["cpuUsPerDelta"]
            pairs.append((costs["with"], costs["without"]))
        every, none = (statistics.median(costs) for costs in zip(*pairs, strict=True))
        return {
            "sqlite": first_figures,
            "checkpoints": {
                "every2sCpuUsPerDelta": round(every, 1),
                "neverCpuUsPerDelta": round(none, 1),
                "cpuRatio": _ratio(every / none for every, none in pairs),
                "rounds": pairs,
            },
        }


def _cost(microseconds: float) -> dict[str, float]:
    return {"cpuUsPerDelta": round(microseconds, 2), "deltasPerCoreSecond": round(1e6 / microseconds)}


def _ratio(ratios: Any) -> float:
    return round(statistics.median(ratios), 2)


def _stored_whole(leg: Leg) -> int:
    """The number of stored answers that have every delta and begin with what their client received."""
    whole = 0
    for _ in range(3):  # turns whose clients have left may still be running: nobody saw their end
        stored = listen.stored(leg.server.process.url, leg.server.token, leg.transcripts)
        whole = sum(
            len(stamps) == leg.kind.deltas and stamps[: len(transcript.stamps)] == transcript.stamps
            for transcript, stamps in zip(leg.transcripts, stored, strict=True)
        )
        if whole == len(leg.transcripts):
            break
        time.sleep(1)
    return whole


@contextlib.contextmanager
def serving(model: Model, **settings: str) -> Iterator[Server]:
    """A server with a folder and a database of its own, warmed up by a few turns."""
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        env = environment(Path(folder), AWS_ENDPOINT_URL_BEDROCK_RUNTIME=model.url, **settings)
        manage(env, "migrate", "--verbosity", "0")
        token = manage(env, "issue_token", "alice")
        with Process("manage.py", "serve", core=SERVER_CORE, environment=env) as process:
            ready(process.url)
            model.plan(10, 0)
            for over in ("ws", "sse"):
                listen.run(process.url, token, [Question(f"warm-{over}-{n}") for n in range(4)], over=over)
            yield Server(process, token)


def goals(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals, with the measured values, and whether each is met."""
    rows: list[Goal] = [
        (f"deltas per second per core, {name}, {over}", figures[name][over]["deltasPerCoreSecond"], ">=", least)
        for name, least in (("paced", 5_000), ("burst", 20_000))
        for over in ("ws", "sse")
    ]
    rows.append(("added lag of 20 ms tokens, p95 ms", figures["fast"]["lag"]["p95Ms"], "<", 50))
    for name, leg in figures["many"].items():
        if "skipped" in leg:
            continue
        listening = leg["streams"] - leg["vanished"]
        rows.append((f"many streams, {name}: complete for their clients", leg["complete"], "=", listening))
        rows.append((f"many streams, {name}: stored whole", leg["storedWhole"], "=", leg["streams"]))
        if not leg["vanished"]:  # the other legs run in a fresh process, where memory grows
            rows.append((f"many streams, {name}: memory each, KiB", leg["memoryGrowthPerStreamKiB"], "<", 1024))
    return judged(rows)


def measure(size: Size, model: Model, raw: Process) -> dict[str, Any]:
    """All figures of a run.

    1. On SQLite, many streams with and without checkpoints, then again while a tenth of the clients vanish.
    2. On SQLite, paced and burst streams beside the floor, and the lag of fast ones.
    3. On PostgreSQL, many streams. Without a server they are skipped, but raise if TEST_DATABASE_URL is set.
    """
    bench = Bench(size, model, raw)
    figures: dict[str, Any] = {}
    with serving(model) as often, serving(model, CHECKPOINT_SECONDS=NEVER) as never:
        checkpoints = bench.checkpoints(often, never)  # first, because memory grows only in a fresh process
        figures["many"] = {"sqlite": checkpoints["sqlite"]}
        say("and a tenth of the clients vanishes")
        figures["many"]["vanishing"] = bench.many(often, leaving=10)
        figures["checkpoints"] = checkpoints["checkpoints"]
        bench.floor(Kind(2, 10), 1)
        figures["paced"] = bench.throughput(often, "paced", size.paced, size.paced.streams)
        figures["burst"] = bench.throughput(often, "burst", size.burst, 1)
        figures["fast"] = bench.fast(often)
    with postgresql_or_reason() as (url, reason):
        if url is None:
            figures["many"]["postgresql"] = {"skipped": reason}
            return figures
        say("many streams on PostgreSQL")
        with serving(model, DATABASE_URL=url) as server:
            figures["many"]["postgresql"] = bench.many(server)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    size = QUICK if parser.parse_args().quick else FULL
    os.sched_setaffinity(0, LOAD_CORE)
    gc.disable()  # the load makes no reference cycles, and a collection would look like lag
    with (
        Process("-m", "tests.bench.clock_model", core=LOAD_CORE) as bedrock,
        Process("-m", "tests.bench.raw_streams", bedrock.url, str(size.paced.streams), core=SERVER_CORE) as raw,
    ):
        figures = measure(size, Model(bedrock.url), raw)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}
    name = "quick" if size is QUICK else "full"
    print(json.dumps({"machine": machine, "size": name, "goals": goals(figures), **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

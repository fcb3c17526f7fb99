"""`make bench-stream`: what streaming costs, in ratios measured in one run, as one JSON document on stdout.

docs/PERFORMANCE.md says how to read it.
"""

import argparse
import contextlib
import gc
import json
import operator
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
from tests.bench.listen import Heard, Question
from tests.bench.processes import LOAD_CORE, SERVER_CORE, Process, environment, manage, postgresql, ready

NEVER = "86400"  # seconds between checkpoints


@dataclass(frozen=True)
class Kind:
    """So many streams of so many deltas, one every `pace` seconds; their questions come over `opening` seconds."""

    streams: int
    deltas: int
    pace: float = 0.0
    opening: float = 0.0
    times: int = 1  # over, as one measurement: CPU is counted in hundredths of a second


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


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Server:
    process: Process
    token: str


class Leg:
    """One measurement: what the clients heard, and what it cost the server."""

    def __init__(self, kind: Kind, server: Server, heard: list[Heard], cpu: float, wall: float) -> None:
        self.kind, self.server, self.heard, self.cpu, self.wall = kind, server, heard, cpu, wall
        self.deltas = sum(len(each.stamps) for each in heard)
        self.whole = sum(each.is_whole(kind.deltas) for each in heard)
        for failure in {each.failure for each in heard if each.failure}:
            say(f"a stream failed: {failure}")

    @property
    def cost(self) -> float:
        """Microseconds of CPU for a delta that arrived; turns are opened and closed for it."""
        return self.cpu / max(1, self.deltas) * 1e6

    def told(self) -> dict[str, Any]:
        lag = listen.lags(self.heard)
        return {"complete": self.whole, "streams": len(self.heard), "deltas": self.deltas, "lag": lag}


class Bench:
    def __init__(self, size: Size, model: Model, raw: Process) -> None:
        self.size, self.model, self.raw = size, model, raw
        self._legs = 0

    def listen(
        self, server: Server, kind: Kind, over: str = "ws", *, leaving: int = 0, meanwhile: Any = None
    ) -> tuple[Leg, dict[str, float]]:
        """The streams of a kind, and how late the model was. One client in `leaving` vanishes in mid-stream."""
        self.model.plan(kind.deltas, kind.pace)
        heard: list[Heard] = []
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
            heard += listen.run(
                server.process.url,
                server.token,
                questions,
                over=over,
                opening_seconds=kind.opening,
                meanwhile=meanwhile,
            )
        leg = Leg(kind, server, heard, server.process.cpu - cpu, time.perf_counter() - wall)
        return leg, self.model.lateness()

    def floor(self, kind: Kind, threads: int) -> float:
        """Microseconds of boto3's CPU for a delta."""
        process = self.raw.process
        assert process.stdin is not None
        assert process.stdout is not None
        self.model.plan(kind.deltas, kind.pace)
        process.stdin.write(f"{kind.streams * kind.times} {threads}\n")
        process.stdin.flush()
        cpu, _, deltas = map(float, process.stdout.readline().split())
        return cpu / deltas * 1e6

    def throughput(self, server: Server, name: str, kind: Kind, threads: int) -> dict[str, Any]:
        """What a delta costs over the WebSocket and over SSE, round by round beside the floor."""
        floors: list[float] = []
        legs: dict[str, list[Leg]] = {"ws": [], "sse": []}
        late = []
        for number in range(self.size.rounds):
            say(f"{name}: round {number + 1} of {self.size.rounds}")
            floors.append(self.floor(kind, threads))
            for over, rounds in legs.items():
                leg, its_lateness = self.listen(server, kind, over)
                rounds.append(leg)
                late.append(its_lateness["p95Ms"])
        found: dict[str, Any] = {"streams": kind.streams, "deltas": kind.deltas, "paceMs": kind.pace * 1000}
        found["raw"] = _cost(statistics.median(floors))
        for over, rounds in legs.items():
            deltas, frames = sum(leg.deltas for leg in rounds), sum(e.frames for leg in rounds for e in leg.heard)
            found[over] = {  # no lags of a burst: its stamps tell the order only
                **_cost(statistics.median(leg.cost for leg in rounds)),
                "cpuRatioToRaw": _ratio(leg.cost / floor for leg, floor in zip(rounds, floors, strict=True)),
                "complete": sum(leg.whole for leg in rounds),
                "streams": sum(len(leg.heard) for leg in rounds),
                "deltasPerFrame": round(deltas / frames, 2),
                **({"lag": listen.lags([each for leg in rounds for each in leg.heard])} if kind.pace else {}),
            }
        if kind.pace:
            found["modelLateP95Ms"] = max(late)
        return found

    def fast(self, server: Server) -> dict[str, Any]:
        """How late deltas are that come every 20 ms."""
        say(f"{self.size.fast.streams} streams of a delta every {self.size.fast.pace * 1000:.0f} ms")
        leg, late = self.listen(server, self.size.fast)
        told = {**leg.told(), "lagWhileAllOpen": listen.lags(leg.heard, all_open=True)}
        return {**told, "serverCoreShare": round(leg.cpu / leg.wall, 2), "modelLate": late}

    def many(self, server: Server, leaving: int = 0) -> dict[str, Any]:
        """As many streams as a process takes: what it holds for each, and whether all are whole in the database."""
        before, most = server.process.resident, [0]
        note = lambda: most.append(server.process.resident)  # noqa: E731
        leg, late = self.listen(server, self.size.many, leaving=leaving, meanwhile=note)
        note()
        stayed = [each for each in leg.heard if not each.question.leaves_after]
        return {
            **leg.told(),
            "vanished": len(leg.heard) - len(stayed),
            "openAtOnce": listen.open_at_once(leg.heard),
            "storedWhole": _stored_whole(leg),
            "memoryGrowthPerStreamKiB": round((max(most) - before) / 1024 / len(leg.heard), 1),
            "cpuUsPerDelta": round(leg.cost, 1),
            "serverCoreShare": round(leg.cpu / leg.wall, 2),
            "modelLate": late,
        }

    def checkpoints(self, often: Server, never: Server) -> dict[str, Any]:
        """The same many streams with and without checkpoints, in turns; the first leg is told as `sqlite`."""
        told: dict[str, Any] = {}
        pairs: list[tuple[float, float]] = []
        for number in range(self.size.rounds):
            costs = {}
            for server in (often, never) if number % 2 == 0 else (never, often):
                with_them = "with" if server is often else "without"
                say(f"{self.size.many.streams} streams, {with_them} checkpoints: round {number + 1}")
                found = self.many(server)
                told = told or found
                costs[with_them] = found["cpuUsPerDelta"]
            pairs.append((costs["with"], costs["without"]))
        every, none = (statistics.median(costs) for costs in zip(*pairs, strict=True))
        return {
            "sqlite": told,
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
    """Answers in the database that have every delta, and begin with what their client heard."""
    whole = 0
    for _ in range(3):  # nobody was told of the end of turns whose clients have left
        found = listen.stored(leg.server.process.url, leg.server.token, leg.heard)
        whole = sum(
            len(stamps) == leg.kind.deltas and stamps[: len(each.stamps)] == each.stamps
            for each, stamps in zip(leg.heard, found, strict=True)
        )
        if whole == len(leg.heard):
            break
        time.sleep(1)
    return whole


@contextlib.contextmanager
def serving(model: Model, **settings: str) -> Iterator[Server]:
    """A server with a folder and a database of its own, which has answered already."""
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


def goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What was hoped for, and whether it is so."""
    rows: list[tuple[str, float, str, int]] = [
        (f"deltas per second per core, {name}, {over}", found[name][over]["deltasPerCoreSecond"], ">=", least)
        for name, least in (("paced", 5_000), ("burst", 20_000))
        for over in ("ws", "sse")
    ]
    rows.append(("added lag of 20 ms tokens, p95 ms", found["fast"]["lag"]["p95Ms"], "<", 50))
    for name, leg in found["many"].items():
        if "skipped" in leg:
            continue
        listening = leg["streams"] - leg["vanished"]
        rows.append((f"many streams, {name}: complete for their clients", leg["complete"], "=", listening))
        rows.append((f"many streams, {name}: stored whole", leg["storedWhole"], "=", leg["streams"]))
        if not leg["vanished"]:  # the others are a fresh process's
            rows.append((f"many streams, {name}: memory each, KiB", leg["memoryGrowthPerStreamKiB"], "<", 1024))
    holds = {">=": operator.ge, "<": operator.lt, "=": operator.eq}
    return [
        {"what": what, "value": value, "goal": f"{sign} {goal}", "met": holds[sign](value, goal)}
        for what, value, sign, goal in rows
    ]


def measure(size: Size, model: Model, raw: Process) -> dict[str, Any]:
    bench = Bench(size, model, raw)
    found: dict[str, Any] = {}
    with serving(model) as often, serving(model, CHECKPOINT_SECONDS=NEVER) as never:
        told = bench.checkpoints(often, never)  # first: memory grows in a fresh process only
        found["many"] = {"sqlite": told["sqlite"]}
        say("and a tenth of the clients vanishes")
        found["many"]["vanishing"] = bench.many(often, leaving=10)
        found["checkpoints"] = told["checkpoints"]
        bench.floor(Kind(2, 10), 1)
        found["paced"] = bench.throughput(often, "paced", size.paced, size.paced.streams)
        found["burst"] = bench.throughput(often, "burst", size.burst, 1)
        found["fast"] = bench.fast(often)
    with contextlib.ExitStack() as database:
        try:
            url = database.enter_context(postgresql())
        except Exception as error:
            if "TEST_DATABASE_URL" in os.environ:
                raise
            found["many"]["postgresql"] = {"skipped": f"no TEST_DATABASE_URL, and pip's server says: {error}"}
            return found
        say("many streams on PostgreSQL")
        with serving(model, DATABASE_URL=url) as server:
            found["many"]["postgresql"] = bench.many(server)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    size = QUICK if parser.parse_args().quick else FULL
    os.sched_setaffinity(0, LOAD_CORE)
    gc.disable()  # nothing of the load is garbage in circles, and a collection would look like lag
    with (
        Process("-m", "tests.bench.clock_model", core=LOAD_CORE) as bedrock,
        Process("-m", "tests.bench.raw_streams", bedrock.url, str(size.paced.streams), core=SERVER_CORE) as raw,
    ):
        found = measure(size, Model(bedrock.url), raw)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}
    name = "quick" if size is QUICK else "full"
    print(json.dumps({"machine": machine, "size": name, "goals": goals(found), **found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

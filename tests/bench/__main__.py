"""`make bench`: ratios measured in one run, as one JSON document on stdout. docs/PERFORMANCE.md says how to read it."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.processes import LOAD_CORE, ROOT, SERVER_CORE, Process, environment, manage, ready

LONG = 1_999  # messages before turn 1,000's question is asked


@dataclass(frozen=True)
class Size:
    rounds: int
    requests: int
    long_requests: int
    conversations: int
    reads: int


FULL = Size(rounds=5, requests=400, long_requests=15, conversations=10_000, reads=200)
QUICK = Size(rounds=2, requests=200, long_requests=5, conversations=50, reads=10)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One run: a static Bedrock and the load on one core, the server and the floor on the other."""

    def __init__(self, size: Size, server: Process, raw: Process, token: str) -> None:
        self.size, self.server, self.raw, self.token = size, server, raw, token

    def floor(self, requests: int, messages: int) -> tuple[float, float]:
        """CPU and wall ms of one raw `converse`."""
        process = self.raw.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{requests} {messages}\n")
        process.stdin.flush()
        cpu, wall = map(float, process.stdout.readline().split())
        return cpu / requests * 1000, wall / requests * 1000

    def served(
        self, connections: int, requests: int, send: Callable[[load.Connection, int], object]
    ) -> tuple[float, list[float]]:
        """CPU ms of the server per request, and the latencies."""
        before = self.server.cpu
        latencies = load.run(self.server.url, connections, requests, send)
        return (self.server.cpu - before) / requests * 1000, latencies

    def ask(self, connection: load.Connection, conversation: str, parent: str | None = None) -> int:
        message: dict[str, Any] = {
            "content": [{"contentType": "text", "body": "message"}],
            "model": "claude-v3.7-sonnet",
        }
        if parent is not None:
            message["parentMessageId"] = parent
        body = {"conversationId": conversation, "message": message}
        return connection.request("POST", "/conversation", json.dumps(body).encode(), self.token)

    def turns(self) -> dict[str, Any]:
        """New conversations of one turn, at 1 and 16 connections, interleaved with the floor."""
        floors: list[tuple[float, float]] = []
        found: dict[int, list[tuple[float, list[float]]]] = {1: [], 16: []}
        for number in range(self.size.rounds):
            say(f"turns: round {number + 1} of {self.size.rounds}")
            floors.append(self.floor(self.size.requests, 1))
            for connections, rounds in found.items():
                name = f"turn-{number}-{connections}"
                rounds.append(
                    self.served(connections, self.size.requests, lambda c, n, name=name: self.ask(c, f"{name}-{n}"))
                )
        return {
            "raw": {"cpuMs": _median(cpu for cpu, _ in floors), "wallMs": _median(wall for _, wall in floors)},
            **{f"c{connections}": _turn(rounds, floors) for connections, rounds in found.items()},
        }

    def long(self, parent: str) -> dict[str, Any]:
        """Turn 1,000: questions under the same last answer, so that each sends the same two thousand messages."""
        floors, rounds = [], []
        for number in range(self.size.rounds):
            say(f"turn 1,000: round {number + 1} of {self.size.rounds}")
            floors.append(self.floor(self.size.long_requests, LONG))
            rounds.append(self.served(1, self.size.long_requests, lambda c, _: self.ask(c, "bench-long", parent)))
        return {"raw": {"cpuMs": _median(cpu for cpu, _ in floors)}, "c1": _turn(rounds, floors)}

    def reads(self) -> dict[str, Any]:
        """Listing and opening, with many conversations there."""
        say("listing and opening")
        last = self.size.conversations
        empty, _ = self.served(1, self.size.reads * 5, lambda c, _: c.request("GET", "/health"))
        empty = max(empty, 0.001)  # the kernel counts in hundredths of a second
        listed = len(_get(self, "/conversations"))
        sizes: list[int] = []
        found: dict[str, Any] = {"conversations": listed, "messagesEach": 20, "health": {"cpuMs": round(empty, 3)}}
        for name, path, requests in (
            ("list", lambda _: "/conversations", max(2, self.size.reads // 10)),
            ("open", lambda n: f"/conversation/bench-{n * 7919 % last:06}", self.size.reads),
        ):
            send = lambda c, n, path=path: sizes.append(c.request("GET", path(n), token=self.token))  # noqa: E731
            cpu, latencies = self.served(1, requests, send)
            found[name] = {
                "cpuMs": round(cpu, 3),
                "bytes": sizes[-1],
                "ratioToHealth": round(cpu / empty, 1),
                **_p(latencies),
            }
        return found


def _median(values: Any) -> float:
    return round(statistics.median(values), 3)


def _p(latencies: list[float]) -> dict[str, float]:
    return {f"p{share}Ms": round(load.percentile(latencies, share / 100), 2) for share in (50, 95)}


def _turn(rounds: list[tuple[float, list[float]]], floors: list[tuple[float, float]]) -> dict[str, float]:
    """Medians over rounds; the ratio is taken round by round, against the floor measured beside it."""
    ratios = [cpu / floor for (cpu, _), (floor, _) in zip(rounds, floors, strict=True)]
    return {
        "cpuMs": _median(cpu for cpu, _ in rounds),
        "cpuRatioToRaw": round(statistics.median(ratios), 2),
        **_p(sorted(latency for _, latencies in rounds for latency in latencies)),
    }


def _get(bench: Bench, path: str) -> Any:
    request = urllib.request.Request(f"{bench.server.url}{path}", headers={"Authorization": f"Bearer {bench.token}"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    size = QUICK if parser.parse_args().quick else FULL
    os.sched_setaffinity(0, LOAD_CORE)
    emulator_arguments = ("-m", "bedrock_chat.bedrock.emulator", "--port", "0", "--exit-with-parent")
    with (
        tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder,
        Process(*emulator_arguments, core=LOAD_CORE) as bedrock,
    ):
        _make_static(bedrock.url)
        env = environment(Path(folder), AWS_ENDPOINT_URL_BEDROCK_RUNTIME=bedrock.url)
        manage(env, "migrate", "--verbosity", "0")
        token = manage(env, "issue_token", "alice")
        say(f"writing {size.conversations} conversations")
        fill = [sys.executable, "-m", "tests.bench.fill", "alice"]
        filled = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
        subprocess.run([*fill, str(size.conversations), "20"], cwd=ROOT, env=filled, check=True)
        with (
            Process("manage.py", "serve", core=SERVER_CORE, environment=env) as server,
            Process("-m", "tests.bench.raw", bedrock.url, core=SERVER_CORE) as raw,
        ):
            ready(server.url)
            bench = Bench(size, server, raw, token)
            read = bench.reads()  # first: every turn below makes one more conversation to list
            load.run(server.url, 16, 64, lambda c, n: bench.ask(c, f"warm-{n}"))
            bench.floor(20, 1)
            found = {"turn": bench.turns(), "read": read}
            found["turn1000"] = _long(bench, filled)
    print(json.dumps({"machine": _machine(), "size": "quick" if size is QUICK else "full", **found}, indent=1))
    return 0


def _long(bench: Bench, env: dict[str, str]) -> dict[str, Any]:
    code = (
        "import django; django.setup()\n"
        "from conversations.models import Conversation\n"
        "from tests import build\n"
        "from bedrock_chat.identity import local\n"
        f"build.long_conversation(local.local_user('alice'), {(LONG - 1) // 2}, 'bench-long')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)
    return bench.long(_get(bench, "/conversation/bench-long")["lastMessageId"])


def _make_static(url: str) -> None:
    request = urllib.request.Request(f"{url}/control/script", b'{"static": true}', method="POST")
    urllib.request.urlopen(request).read()


def _machine() -> dict[str, Any]:
    return {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}


if __name__ == "__main__":
    sys.exit(main())

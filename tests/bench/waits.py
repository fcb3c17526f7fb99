"""Requests that wait for answers, all in one process: what they hold, and what everybody else notices of them."""

import json
import selectors
import socket
import statistics
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

from bedrock_chat.process.limits import raise_descriptor_limit
from tests.bench import load
from tests.bench.goals import Goal
from tests.bench.processes import SERVER_CORE, Process
from tests.jobs.conftest import Workshop
from tests.publication.seed import PUBLISH

AT_ONCE = 16
"""Requests that are sent before one that does not wait has been answered."""
REST_SECONDS = 1.0
CALM = 0.1
"""Share of a core below which the server has nothing more to do."""
MEGABYTE = 1024 * 1024
ASK = """
turns = [ask("hello", None) for _ in range({count})]
print(json.dumps([f"{{turn.conversation_id}}/{{turn.message_id}}" for turn in turns]))
"""


class Caller(load.Connection):
    """A client whose requests do not wait."""

    def look(self, key: str) -> None:
        """Asks for a conversation that is not there. Of one key, requests count themselves one after the other."""
        self._send("GET", "/published/helper/api/conversation/none", b"", "", f"x-api-key: {key}\r\n")
        status, length = self._head()
        self._file.read(length)
        if b" 404 " not in status:
            raise RuntimeError(f"{status!r}")


class Waiters:
    """Connections, each with a request that waits for an answer of its own."""

    def __init__(self, server: Process, key: str, paths: list[str]) -> None:
        parts = urlsplit(server.url)
        self.sockets: list[socket.socket] = []
        caller = Caller(server.url)
        for number, path in enumerate(paths):
            client = socket.create_connection((parts.hostname, parts.port))
            client.sendall(
                f"GET /published/helper/api/conversation/{path}?wait=60 HTTP/1.1\r\n"
                f"Host: {parts.netloc}\r\nx-api-key: {key}\r\n\r\n".encode()
            )
            self.sockets.append(client)
            if number % AT_ONCE == AT_ONCE - 1:
                caller.look(key)
        caller.close()
        server_has_rested(server, REST_SECONDS)

    def answers(self, seconds: float) -> list[float]:
        """When each answer comes, within so many seconds: milliseconds from now, ascending."""
        begun, milliseconds = time.perf_counter(), list[float]()
        with selectors.DefaultSelector() as selector:
            for client in self.sockets:
                selector.register(client, selectors.EVENT_READ)
            while len(milliseconds) < len(self.sockets) and (left := begun + seconds - time.perf_counter()) > 0:
                for key, _ in selector.select(left):
                    assert isinstance(key.fileobj, socket.socket)
                    status = key.fileobj.recv(65536)[:12]
                    if status != b"HTTP/1.1 409":
                        raise RuntimeError(f"an answer that nobody waited for: {status!r}")
                    selector.unregister(key.fileobj)
                    milliseconds.append((time.perf_counter() - begun) * 1000)
        return milliseconds

    def close(self) -> None:
        for client in self.sockets:
            client.close()


def server_has_rested(server: Process, seconds: float) -> None:
    """Returns when the server has used next to no CPU for so long."""
    while True:
        before = server.cpu
        time.sleep(seconds)
        if server.cpu - before < seconds * CALM:
            return


def health(server: Process, requests: int) -> list[float]:
    """Milliseconds of requests that come one after the other."""
    return load.run(server.url, 1, requests, lambda connection, _: connection.request("GET", "/health"))


def measure(workshop: Workshop, key: str, count: int, requests: int, rounds: int) -> dict[str, Any]:
    """Rounds that take turns: nobody waits, then `count` do, each for an answer. At a round's end all turns end."""
    raise_descriptor_limit(count + 100)
    paths = json.loads(workshop.run(PUBLISH + ASK.format(count=count)))
    latencies: dict[str, list[list[float]]] = {"idle": [], "waiting": []}
    megabytes, shares, milliseconds = list[float](), list[float](), list[float]()
    with ExitStack() as stack:
        server = stack.enter_context(Process("manage.py", "serve", core=SERVER_CORE, environment=workshop.environment))
        health(server, requests)
        for _ in range(rounds):
            server_has_rested(server, REST_SECONDS)
            latencies["idle"].append(health(server, requests))
            waiters = Waiters(server, key, paths)
            try:
                cpu, began = server.cpu, time.perf_counter()
                time.sleep(REST_SECONDS)
                shares.append((server.cpu - cpu) / (time.perf_counter() - began))
                latencies["waiting"].append(health(server, requests))
                if waiters.answers(0.01):
                    raise RuntimeError("some did not wait")
                megabytes.append(server.resident / MEGABYTE)
                workshop.sql("UPDATE publication_turnrequest SET done_at = accepted_at, reason = 'The round is over.'")
                milliseconds += waiters.answers(30)
            finally:
                waiters.close()
            workshop.sql("UPDATE publication_turnrequest SET done_at = NULL, reason = ''")
    p95 = {name: statistics.median(load.percentile(run, 0.95) for run in runs) for name, runs in latencies.items()}
    return {
        "waiters": count,
        "answered": round(len(milliseconds) / rounds),
        "residentMb": round(max(megabytes), 1),
        "corePercent": round(statistics.median(shares) * 100, 1),
        "healthP95Ms": {name: round(value, 2) for name, value in p95.items()},
        "healthRatioToIdle": round(p95["waiting"] / p95["idle"], 2),
        "answeredMs": {"p50": round(statistics.median(milliseconds)), "worst": round(max(milliseconds))},
    }


def goals(name: str, figures: dict[str, Any]) -> list[Goal]:
    what = f"{figures['waiters']} who wait, {name}"
    return [
        (f"MB, {what}", figures["residentMb"], "<=", 200),
        (f"/health p95 / idle, {what}", figures["healthRatioToIdle"], "<=", 1.5),
        (f"answered, {what}", figures["answered"], "=", figures["waiters"]),
    ]

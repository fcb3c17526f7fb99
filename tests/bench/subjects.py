"""The subject of a measurement: the server of one checkout with a database of its own, and the legs it is sent through.

The checkout is this one or another revision of it. It runs its own `tests.bench.fill` and `tests.build`.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.processes import LOAD_CORE, ROOT, SERVER_CORE, Process, environment, manage, ready

LONG = 1_999  # messages that the model gets in turn 1,000, the question included
_MAKE_LONG = (
    "import django; django.setup()\n"
    "from tests import build\n"
    "from bedrock_chat.identity import local\n"
    f"build.long_conversation(local.local_user('alice'), {(LONG - 1) // 2}, 'bench-long')\n"
)


@dataclass(frozen=True)
class Size:
    """Rounds of each leg, requests of a round, and what the database holds."""

    rounds: int
    requests: int
    long_requests: int
    conversations: int
    reads: int


FULL = Size(rounds=5, requests=400, long_requests=15, conversations=10_000, reads=200)
QUICK = Size(rounds=2, requests=200, long_requests=5, conversations=50, reads=10)


@dataclass(frozen=True)
class Sample:
    """One round of a leg: the server's CPU in ms for a request, the client's sorted latencies in ms, and the bytes of
    the last answer.
    """

    cpu: float
    latencies: list[float]
    size: int

    @property
    def p50(self) -> float:
        return load.percentile(self.latencies, 0.5)

    @property
    def p95(self) -> float:
        return load.percentile(self.latencies, 0.95)


class Subject:
    """A server that is being measured."""

    def __init__(self, server: Process, token: str, size: Size, root: Path, env: dict[str, str]) -> None:
        self.server, self.token, self.size = server, token, size
        self._root, self._environment = root, env
        self._last_of_long: str | None = None

    def get(self, path: str) -> Any:
        """The JSON of the answer to a GET."""
        address = f"{self.server.url}{path}"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def ask(self, connection: load.Connection, conversation: str, parent: str | None = None) -> int:
        """Runs one turn. Returns the size of the answer in bytes."""
        message: dict[str, Any] = {
            "content": [{"contentType": "text", "body": "message"}],
            "model": "claude-v3.7-sonnet",
        }
        if parent is not None:
            message["parentMessageId"] = parent
        body = {"conversationId": conversation, "message": message}
        return connection.request("POST", "/conversation", json.dumps(body).encode(), self.token)

    def sample(self, connections: int, requests: int, send: Callable[[load.Connection, int], int]) -> Sample:
        """Sends so many requests over so many connections. `send` returns the size of an answer."""
        sizes = [0]
        before = self.server.cpu
        latencies = load.run(self.server.url, connections, requests, lambda c, n: sizes.append(send(c, n)))
        return Sample((self.server.cpu - before) / requests * 1000, latencies, sizes[-1])

    # ---- Legs: `number` is the round's ----

    def turn(self, number: int, connections: int) -> Sample:
        """New conversations of one turn."""
        name = f"turn-{number}-{connections}"
        return self.sample(connections, self.size.requests, lambda c, n: self.ask(c, f"{name}-{n}"))

    def turn_1000(self) -> Sample:
        """Questions under the same last answer, so that each sends the same two thousand messages."""
        if self._last_of_long is None:
            run(self._root, self._environment, "-c", _MAKE_LONG)
            self._last_of_long = self.get("/conversation/bench-long")["lastMessageId"]
        last = self._last_of_long
        return self.sample(1, self.size.long_requests, lambda c, _: self.ask(c, "bench-long", last))

    def open(self) -> Sample:
        """Opens conversations of the filled database, each far from the one before."""
        path = lambda n: f"/conversation/bench-{n * 7919 % self.size.conversations:06}"  # noqa: E731
        return self.sample(1, self.size.reads, lambda c, n: c.request("GET", path(n), token=self.token))

    def list(self) -> Sample:
        """All conversations in one answer."""
        requests = max(2, self.size.reads // 10)
        return self.sample(1, requests, lambda c, _: c.request("GET", "/conversations", token=self.token))

    def health(self) -> Sample:
        """The least that a request can cost."""
        return self.sample(1, self.size.reads * 5, lambda c, _: c.request("GET", "/health"))


def run(root: Path, env: dict[str, str], *arguments: str) -> None:
    """Runs Python in a checkout. Raises CalledProcessError if it fails."""
    command: Any = [sys.executable, *arguments]
    subprocess.run(command, cwd=root, env=env, check=True)


@contextlib.contextmanager
def serving(bedrock: str, size: Size, root: Path = ROOT) -> Iterator[Subject]:
    """A checkout's server on the server's core, with a filled database, warm."""
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        env = environment(Path(folder), AWS_ENDPOINT_URL_BEDROCK_RUNTIME=bedrock)
        manage(env, "migrate", "--verbosity", "0", root=root)
        token = manage(env, "issue_token", "alice", root=root)
        django_environment = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
        run(root, django_environment, "-m", "tests.bench.fill", "alice", str(size.conversations), "20")
        with Process("manage.py", "serve", core=SERVER_CORE, environment=env, root=root) as server:
            ready(server.url)
            yield Subject(server, token, size, root, django_environment)


@contextlib.contextmanager
def static_bedrock() -> Iterator[str]:
    """The emulator on the load's core. It gives the same small answer to everything, at once. Yields its address."""
    arguments = ("-m", "bedrock_chat.bedrock.emulator", "--port", "0", "--exit-with-parent")
    with Process(*arguments, core=LOAD_CORE) as bedrock:
        request = urllib.request.Request(f"{bedrock.url}/control/script", b'{"static": true}', method="POST")
        urllib.request.urlopen(request).read()
        yield bedrock.url

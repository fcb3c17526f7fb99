"""The subject of a measurement: the server of one checkout with a database of its own, and the legs it is sent through.

The checkout is this one or another revision of it. It runs its own `tests.bench.fill` and `tests.build`.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.backends import Backends, backends, spent
from tests.bench.processes import LOAD_CORE, ROOT, SERVER_CORE, Process, environment, manage, ready

DELTAS = 50  # of a streamed answer
LONG = 1_999  # messages that the model gets in turn 1,000, the question included
_MAKE_LONG = (
    "import django; django.setup()\n"
    "from tests import build\n"
    "from bedrock_chat.identity import local\n"
    f"build.long_conversation(local.local_user('alice'), {(LONG - 1) // 2}, 'bench-long')\n"
)
_SETTLE_POSTGRESQL = (
    "import django; django.setup()\n"
    "from django.core.management.color import no_style\n"
    "from django.db import connection\n"
    "from conversations.models import Conversation, Message\n"
    "with connection.cursor() as cursor:\n"
    "    for statement in connection.ops.sequence_reset_sql(no_style(), [Conversation, Message]):\n"
    "        cursor.execute(statement)\n"
    "    cursor.execute('ANALYZE')\n"
)
"""The filled rows brought their own keys, so the sequences do not know them. Statistics come now, not in some round."""


@dataclass(frozen=True)
class Size:
    """Rounds of each leg, requests of a round, and what the database holds. `proxied` are a round's requests to
    LiteLLM's proxy, `counted` the turns whose pages and system calls are counted.
    """

    rounds: int
    requests: int
    long_requests: int
    conversations: int
    reads: int
    proxied: int
    counted: int


FULL = Size(rounds=5, requests=400, long_requests=15, conversations=10_000, reads=200, proxied=100, counted=200)
QUICK = Size(rounds=2, requests=64, long_requests=5, conversations=50, reads=10, proxied=16, counted=32)


def with_few_conversations(size: Size) -> Size:
    """For legs that only add conversations: to write ten times as many first would take longer than they do."""
    return replace(size, conversations=size.conversations // 10)


@dataclass(frozen=True)
class Sample:
    """One round of a leg: the server's CPU in ms for a request, the client's sorted latencies in ms, the bytes of the
    last answer, and the seconds that the round took. `backend_cpu` is the CPU in ms for a request of PostgreSQL's
    backends, None where there are none or it cannot be read.
    """

    cpu: float
    latencies: list[float]
    size: int
    seconds: float
    backend_cpu: float | None = None

    @property
    def p50(self) -> float:
        return load.percentile(self.latencies, 0.5)

    @property
    def p95(self) -> float:
        return load.percentile(self.latencies, 0.95)

    @property
    def p99(self) -> float:
        return load.percentile(self.latencies, 0.99)

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds


class Subject:
    """A server that is being measured."""

    def __init__(
        self,
        server: Process,
        token: str,
        size: Size,
        root: Path,
        env: dict[str, str],
        backends: Backends | None = None,
    ) -> None:
        self.server, self.token, self.size, self.backends = server, token, size, backends
        self._root, self._environment = root, env
        self._last_of_long: str | None = None

    @property
    def sqlite_file(self) -> Path:
        return Path(self._environment["DATA_DIR"]) / "bedrock-chat.sqlite3"

    @property
    def _bedrock(self) -> str:
        return self._environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]

    def get(self, path: str) -> Any:
        """The JSON of the answer to a GET."""
        address = f"{self.server.url}{path}"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def run(self, *arguments: str) -> None:
        """Runs Python in the subject's checkout and environment. Raises CalledProcessError if it fails."""
        run(self._root, self._environment, *arguments)

    def ask(
        self, connection: load.Connection, conversation: str, parent: str | None = None, bot: str | None = None
    ) -> int:
        """Runs one turn. Returns the size of the answer in bytes."""
        return connection.request("POST", "/conversation", question(conversation, parent, bot), self.token)

    def listen(self, connection: load.Connection, conversation: str) -> int:
        """Runs one turn over SSE. Returns the size of its events in bytes. Raises RuntimeError if it was not whole."""
        events = connection.stream("/conversation", question(conversation), self.token)
        if b"\nevent: message_stop\n" not in events:
            raise RuntimeError(f"a stream was not whole: {events[-200:]!r}")
        return len(events)

    def sample(self, connections: int, requests: int, send: Callable[[load.Connection, int], int]) -> Sample:
        """Sends so many requests over so many connections. `send` returns the size of an answer."""
        sizes = [0]
        backends_before = self.backends.cpu() if self.backends else {}
        before, started = self.server.cpu, time.perf_counter()
        latencies = load.run(self.server.url, connections, requests, lambda c, n: sizes.append(send(c, n)))
        cpu, seconds = self.server.cpu - before, time.perf_counter() - started
        backend_cpu = spent(backends_before, self.backends.cpu() if self.backends else {})
        per_request = None if backend_cpu is None else backend_cpu / requests * 1000
        return Sample(cpu / requests * 1000, latencies, sizes[-1], seconds, per_request)

    # ---- Legs: `number` is the round's ----

    def turn(self, number: int, connections: int, *, name: str = "turn", bot: str | None = None) -> Sample:
        """New conversations of one turn, with a bot or without."""
        name = f"{name}-{number}-{connections}"
        return self.sample(connections, self.size.requests, lambda c, n: self.ask(c, f"{name}-{n}", bot=bot))

    def sse(self, number: int, connections: int) -> Sample:
        """New conversations of one turn over SSE. The model writes all deltas at once."""
        name = f"sse-{number}-{connections}"
        with deltas(self._bedrock, DELTAS):
            return self.sample(connections, self.size.requests, lambda c, n: self.listen(c, f"{name}-{n}"))

    def turn_1000(self) -> Sample:
        """Questions under the same last answer, so that each sends the same two thousand messages."""
        if self._last_of_long is None:
            self.run("-c", _MAKE_LONG)
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


def question(conversation: str, parent: str | None = None, bot: str | None = None) -> bytes:
    message: dict[str, Any] = {"content": [{"contentType": "text", "body": "message"}], "model": "claude-v3.7-sonnet"}
    if parent is not None:
        message["parentMessageId"] = parent
    of_bot = {} if bot is None else {"botId": bot}
    return json.dumps({"conversationId": conversation, "message": message, **of_bot}).encode()


def run(root: Path, env: dict[str, str], *arguments: str) -> None:
    """Runs Python in a checkout. Raises CalledProcessError if it fails."""
    command: Any = [sys.executable, *arguments]
    subprocess.run(command, cwd=root, env=env, check=True)


@contextlib.contextmanager
def serving(bedrock: str, size: Size, root: Path = ROOT, database_url: str | None = None) -> Iterator[Subject]:
    """A checkout's server on the server's core, with a filled database. The database is SQLite's, or else the
    PostgreSQL database of the address.
    """
    settings = {"DATABASE_URL": database_url} if database_url else {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-"))
        env = environment(Path(folder), AWS_ENDPOINT_URL_BEDROCK_RUNTIME=bedrock, **settings)
        manage(env, "migrate", "--verbosity", "0", root=root)
        token = manage(env, "issue_token", "alice", root=root)
        django_environment = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
        run(root, django_environment, "-m", "tests.bench.fill", "alice", str(size.conversations), "20")
        if database_url:
            run(root, django_environment, "-c", _SETTLE_POSTGRESQL)
        server = stack.enter_context(Process("manage.py", "serve", core=SERVER_CORE, environment=env, root=root))
        ready(server.url)
        database_backends = stack.enter_context(backends(database_url)) if database_url else None
        yield Subject(server, token, size, root, django_environment, database_backends)


@contextlib.contextmanager
def static_bedrock() -> Iterator[str]:
    """The emulator on the load's core. It gives the same small answer to everything, at once. Yields its address."""
    arguments = ("-m", "bedrock_chat.bedrock.emulator", "--port", "0", "--exit-with-parent")
    with Process(*arguments, core=LOAD_CORE) as bedrock:
        _script(bedrock.url)
        yield bedrock.url


@contextlib.contextmanager
def deltas(bedrock: str, number: int) -> Iterator[None]:
    """Meanwhile the emulator gives an answer of so many deltas, all at once."""
    _script(bedrock, words=number)
    try:
        yield
    finally:
        _script(bedrock)


def _script(bedrock: str, **fields: int) -> None:
    script = json.dumps({"static": True, **fields}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{bedrock}/control/script", script, method="POST")).read()

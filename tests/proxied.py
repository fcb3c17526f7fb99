"""A server as a process, each of whose dependencies stands behind a proxy and can be made to stall."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests import servers
from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.forking import client as forking
from tests.live import ROOT, LiveServer
from tests.stalling import Proxy, Service
from tests.tokens import CLIENT, ISSUER, make_key, make_token

KEY = make_key()
SETTINGS = {
    "DEBUG": "false",
    "SECRET_KEY": "a secret of more than fifty characters, for tests alone",
    "ALLOWED_HOSTS": "*",
    "FAILED_TOKENS_RATE": "10/h",
    "SHUTDOWN_GRACE": "1",
    "DATABASE_TIMEOUT": "2",
    "JWKS_TIMEOUT": "1",
    "BLOB_TIMEOUT": "2",
    "DIRECTORY_TIMEOUT": "2",
    "MODEL_CONNECT_TIMEOUT": "1",
    "MODEL_READ_TIMEOUT": "2",
    "MODEL_TOTAL_TIMEOUT": "3",
}
LONGEST = 10.0  # seconds that nothing takes with these settings: the sum of all that one request may meet, twice
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"contentType": "image", "mediaType": "image/png", "body": PNG}
WORDS = {"contentType": "text", "body": "look"}


@contextmanager
def _emulator(_: Path) -> Iterator[Service]:
    with Emulator() as emulator:
        yield Service(emulator.url, emulator.process.pid)


@dataclass(frozen=True)
class Dependency:
    """How it is started (in a folder of its own), and which settings lead a server to it, by the proxy's URL."""

    start: Callable[[Path], AbstractContextManager[Service]]
    settings: Callable[[str], Mapping[str, str]]


DEPENDENCIES = {
    "database": Dependency(lambda _: servers.postgresql(), lambda url: {"DATABASE_URL": url}),
    "cache": Dependency(servers.redis_server, lambda url: {"REDIS_URL": url}),
    "broker": Dependency(servers.redis_server, lambda url: {"CELERY_BROKER_URL": url}),
    "storage": Dependency(
        lambda _: servers.s3(),
        lambda url: {
            "BLOB_BUCKET": servers.BUCKET,
            "AWS_ENDPOINT_URL_S3": url,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        },
    ),
    "identity": Dependency(
        lambda folder: servers.keys(folder, k1=KEY),
        lambda url: {
            "COGNITO_CLIENT_ID": CLIENT,
            "COGNITO_ISSUER": ISSUER,
            "COGNITO_JWKS_URL": url,
        },
    ),
    "directory": Dependency(
        lambda _: servers.cognito(),
        lambda url: {
            "COGNITO_USER_POOL_ID": url.rpartition("/")[2],
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": url.rpartition("/")[0],
        },
    ),
    "bedrock": Dependency(_emulator, lambda url: {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url}),
    "guardrails": Dependency(_emulator, lambda url: {"AWS_ENDPOINT_URL_BEDROCK": url}),
    "agents": Dependency(
        _emulator,
        lambda url: {"AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME": url, "AWS_ENDPOINT_URL_BEDROCK_AGENT": url},
    ),
}
"""By the names that `/ready` gives them, if it has them."""


@dataclass
class Answer:
    status: int
    body: Any
    headers: httpx.Headers
    seconds: float


@dataclass
class Proxied:
    """The server, and a proxy for each of its dependencies. Everybody calls as Alice, who is in a Cognito pool
    and may create bots.
    """

    server: LiveServer
    proxies: dict[str, Proxy]
    folder: Path
    token: str

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> Answer:
        """As Alice, unless there is another token."""
        sent = {"Authorization": f"Bearer {self.token if token is None else token}", **headers}
        begun = time.monotonic()
        response = httpx.request(method, self.server.url + path, json=body, headers=sent, timeout=60)
        seconds = time.monotonic() - begun
        is_json = response.headers.get("content-type", "").startswith("application/json")
        return Answer(response.status_code, response.json() if is_json else response.text, response.headers, seconds)

    def say(self, conversation: str, content: Any = "hello", **fields: Any) -> Answer:
        return self.call("POST", "/conversation", payload(conversation, content, **fields))

    def states(self) -> dict[str, str]:
        """What `/ready` says of each dependency."""
        body = self.call("GET", "/ready").body
        return {name: body[name] for name in body if name not in ("status", "worker", "queue", "detail", "errors")}

    @contextmanager
    def newcomer(self) -> Iterator["Proxied"]:
        """Another server with the same dependencies, which has asked none of them yet."""
        folder = self.folder / "newcomer"
        folder.mkdir(exist_ok=True)
        environment = {**self.server.environment, "DATA_DIR": str(folder)}
        bedrock = environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]
        with LiveServer(folder, bedrock, **environment) as server:
            yield Proxied(server, self.proxies, folder, self.token)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker, which is told to end at the end of the block, and does so in time."""
        with (self.folder / "worker.log").open("a") as log:
            command = [sys.executable, "manage.py", "run_worker"]
            worker = forking.Popen(command, cwd=ROOT, env=self.server.environment, stdout=subprocess.PIPE, stderr=log)
        try:
            yield
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(LONGEST) == 0
        finally:
            worker.kill()
            worker.communicate()


@contextmanager
def proxied(folder: Path, **environment: str) -> Iterator[Proxied]:
    """Starts everything, and ends it."""
    with ExitStack() as stack:

        def start(dependency: Dependency) -> Proxy:
            return stack.enter_context(Proxy(stack.enter_context(dependency.start(folder))))

        with ThreadPoolExecutor(len(DEPENDENCIES)) as pool:
            proxies = dict(zip(DEPENDENCIES, pool.map(start, DEPENDENCIES.values()), strict=True))
        for name, dependency in DEPENDENCIES.items():
            environment |= dependency.settings(proxies[name].url)
        bedrock = environment.pop("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")
        server = stack.enter_context(LiveServer(folder, bedrock, **{**SETTINGS, **environment}))
        yield Proxied(server, proxies, folder, make_token(KEY, **{"cognito:groups": ["CreatingBotAllowed"]}))

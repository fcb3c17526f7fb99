import gc
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from bedrock_chat.process.thread_pool import ThreadPool
from bedrock_chat.serving.application import Application
from bedrock_chat.serving.outflow import Outflow
from bedrock_chat.serving.server import Server, configuration, listen
from tests.serving.urls import Stage, stage

SETTINGS = {
    "ROOT_URLCONF": "tests.serving.urls",
    "MIDDLEWARE": ["django.middleware.common.CommonMiddleware"],
    "ALLOWED_HOSTS": ["*"],
    "DEBUG": False,
    "MAX_BODY_MB": 1,
    "HEAD_TIMEOUT": 5.0,
    "BODY_TIMEOUT": 0.3,
    "CORS_ALLOW_ALL_ORIGINS": True,
    "BODY_JUDGES": ["tests.serving.urls.anybody"],
}


class Live:
    """A real server on a thread of the test's process, with `threads` request threads and `connections` at most."""

    def __init__(self, threads: int, connections: int | None = None) -> None:
        self.threads = ThreadPool(threads)
        self.listener = listen("127.0.0.1", 0)
        self.port: int = self.listener.getsockname()[1]
        self.application = Application(self.threads)
        config = configuration(self.application, connections=connections)
        config.lifespan = "off"  # no heartbeat: most of these tests have no database
        self.server = Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],), name="server")

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)
        for threads in (self.threads, *self.application._other_threads):
            threads.stop()

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        client = socket.socket()
        client.settimeout(10)
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.port))
        return client

    def raw(self, request: bytes) -> bytes:
        """Send bytes, and read until the server closes."""
        with self.connect() as client:
            client.sendall(request)
            return read_to_end(client)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse()

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return json.load(self.request(method, path, body, **headers))


def read_to_end(client: socket.socket) -> bytes:
    received = bytearray()
    while data := client.recv(65536):
        received += data
    return bytes(received)


def read_until(client: socket.socket, mark: bytes) -> bytes:
    """What the server sends, up to a piece that completes `mark`. Fails if the server closes first."""
    received = b""
    while mark not in received:
        data = client.recv(65536)
        assert data, received
        received += data
    return received


def eventually(condition: Callable[[], object], seconds: float = 5.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return bool(condition())


@contextmanager
def serving(threads: int, connections: int | None = None, **settings: Any) -> Iterator[Live]:
    with override_settings(**SETTINGS | settings):
        live = Live(threads, connections)
        live.thread.start()
        assert eventually(lambda: live.server.started)
        try:
            yield live
        finally:
            stage.gate.set()
            live.end()


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with serving(16) as live:
        yield live


class NoOutflow(Outflow):
    """Of a client that takes everything at once."""

    def __init__(self, unsent: int = 0) -> None:
        self.bytes = unsent
        self.aborted = False

    def is_free(self) -> bool:
        return not self.bytes

    def unsent(self) -> int:
        return self.bytes

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture(autouse=True)
def empty_stage() -> Iterator[Stage]:
    Stage.__init__(stage)
    yield stage
    stage.gate.set()


def memory_of_this_process() -> int:
    """Bytes that are in memory, after the garbage collector has run."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB. Only root may mount one: where that is not allowed, the test is skipped."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)

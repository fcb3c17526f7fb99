"""A Redis of the test's own, which delivers messages and can be killed and emptied."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.servers import REDIS_SERVER, free_port

needs_redis = pytest.mark.skipif(
    REDIS_SERVER is None and not os.environ.get("REQUIRE_SERVICES"), reason="needs redis-server, which it kills"
)


class Broker:
    """Redis on a port of its own, without a file: killed, it has forgotten everything."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> "redis.Redis[Any]":
        return redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=10)

    def start(self) -> None:
        assert REDIS_SERVER is not None
        command = [REDIS_SERVER, "--port", str(self.port), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                assert time.monotonic() < end
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def empty(self) -> None:
        self.client.flushall()

    def messages(self, queue: str = "bedrock-chat-note") -> list[str]:
        return self.client.lrange(queue, 0, -1)

    def double(self, queue: str = "bedrock-chat-note") -> None:
        """Every message that waits comes twice."""
        for message in self.messages(queue):
            self.client.lpush(queue, message)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Inside the block it takes connections and bytes, and says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

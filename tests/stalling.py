"""A service that a test makes stall: its processes are stopped, its packets vanish, or its answers drip."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings

from tests.forking import client as forking
from tests.proxy import BLACK_HOLE, SLOW_DRIP

ROOT = Path(__file__).resolve().parent.parent
STOPPED = "stopped"
FAULTS = (STOPPED, BLACK_HOLE, SLOW_DRIP)

once = pytest.mark.skipif(
    "sqlite" not in settings.DATABASES["default"]["ENGINE"],
    reason="needs no database of the test run: the run on SQLite has it",
)
"""Marks slow tests that would do the same on both databases."""


@contextmanager
def unresolved_names() -> Iterator[None]:
    """Inside the block, this process waits for the address of a host for longer than for anything else, in vain."""

    def never(*_: Any, **__: Any) -> Any:
        time.sleep(5)
        raise socket.gaierror

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", never)
        yield


@dataclass(frozen=True)
class Service:
    """A server that runs. `pid` is its first process, or None where the server is not the test's own."""

    url: str
    pid: int | None = None

    @property
    def address(self) -> str:
        """Its `host:port`, or the path of its Unix socket."""
        parts = urlsplit(self.url)
        folder = parse_qs(parts.query).get("host", [""])[0]
        return f"{folder}/.s.PGSQL.5432" if folder else f"{parts.hostname}:{parts.port or 5432}"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Inside the block all of its processes stand still."""
        assert self.pid is not None
        with _stopped(self.pid):
            yield


class Proxy:
    """Stands between clients and a service, and makes the service stall.

    STOPPED: the processes of the service get SIGSTOP, so that the kernel accepts connections and bytes, and nobody
    answers. Where they are not the test's own, the proxy is stopped in their place.
    BLACK_HOLE: nothing that is sent is acknowledged: connections that are open hang, new ones are not even refused.
    SLOW_DRIP: an answer comes one byte at a time.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def __enter__(self) -> Self:
        self._process = forking.Popen(
            [sys.executable, "-m", "tests.proxy", self._service.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.address = f"127.0.0.1:{int(self._read_line())}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def url(self) -> str:
        """The service's URL, by way of this proxy."""
        parts = urlsplit(self._service.url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}{self.address}", query="").geturl()

    @contextmanager
    def having(self, fault: str) -> Iterator[None]:
        """Inside the block, the service stalls; afterwards it answers what has gathered, and works again."""
        if fault == STOPPED:
            with _stopped(self._service.pid or self._process.pid):
                yield
            return
        self._switch_to(fault)
        try:
            yield
        finally:
            self._switch_to("")

    def _switch_to(self, mode: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mode}\n")
        self._process.stdin.flush()
        assert self._read_line() == f"mode {mode}".strip()

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the proxy died"
        return line.strip()


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Stops a process and its children. The first one comes first: once it stands still, it starts no others."""
    _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # that process has just ended
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                os.kill(int(status.parent.name), number)

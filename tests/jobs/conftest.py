"""Workers as processes, on a database of the test's own."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings

from tests.forking import client as forking
from tests.stopping import stand_still

ROOT = Path(__file__).resolve().parent.parent.parent
LEAN = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class Workshop:
    """A database, and the workers on it."""

    def __init__(self, database_url: str, data: Path) -> None:
        self.environment = {
            **os.environ,
            "DEBUG": "true",
            "DATABASE_URL": database_url,
            "DATA_DIR": str(data),
            "DJANGO_SETTINGS_MODULE": "tests.jobs.settings",
            "JOB_LEASE_SECONDS": "2",
            "SHUTDOWN_GRACE": "5",
        }
        self.log = data / "workers.log"
        self.workers: list[subprocess.Popen[str]] = []
        self.celery = False
        """Whether its workers are Celery's. They need CELERY_BROKER_URL in the environment."""

    def run(self, code: str) -> str:
        """Runs Python code on the database, and returns what it printed."""
        prelude = "import django; django.setup()\nfrom django.db import connection, transaction\n"
        prelude += "from bedrock_chat.jobs import queue\nfrom bedrock_chat.jobs.models import Job, Worker\n"
        command = [sys.executable, "-c", prelude + code]
        done = forking.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Runs a statement on the database directly, without the product. Returns its rows."""
        url = self.environment["DATABASE_URL"]
        database: Any = (
            sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)
            if url.startswith("sqlite")
            else psycopg.connect(url)
        )
        with closing(database), database:
            cursor = database.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def enqueue(self, count: int, seconds: float = 0.0) -> None:
        self.run(
            f"with transaction.atomic():\n    for n in range({count}):\n"
            f"        queue.enqueue('note', {{'number': n, 'seconds': {seconds}}})"
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No worker's row can be written for as long as this lasts."""
        url = self.environment["DATABASE_URL"]
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")
                yield
        else:
            with psycopg.connect(url) as server:
                server.execute("LOCK TABLE bedrock_chat_worker")
                yield

    def work(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Starts a worker, and returns when it works."""
        worker = self.begin_to_work(*arguments, **environment)
        self.wait_for(worker)
        return worker

    def wait_for(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        assert "Working" in worker.stdout.readline(), self.log.read_text()

    def begin_to_work(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", "run_worker", *arguments]
        if self.celery:
            command = [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "bedrock_chat.jobs.celery",
                "-q",
                "worker",
                *LEAN,
                *arguments,
            ]
        with self.log.open("a") as log:
            worker = forking.Popen(
                command,
                cwd=ROOT,
                env={**self.environment, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.workers.append(worker)
        return worker

    def stop(self, worker: subprocess.Popen[str]) -> None:
        stand_still(worker.pid, self.environment["DATABASE_URL"])

    def effects(self) -> list[int]:
        return sorted(number for (number,) in self.sql("SELECT number FROM job_effects"))

    def left(self) -> int:
        return int(self.sql("SELECT count(*) FROM bedrock_chat_job")[0][0])

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log.read_text()[-3000:]
            time.sleep(0.1)

    def end(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.communicate()


@pytest.fixture(scope="module")
def migrated(database_url: str, data: Path) -> Workshop:
    workshop = Workshop(database_url, data)
    workshop.run("from django.core.management import call_command; call_command('migrate', verbosity=0)")
    workshop.sql("CREATE TABLE job_effects (number integer NOT NULL)")
    return workshop


@pytest.fixture
def workshop(migrated: Workshop) -> Iterator[Workshop]:
    migrated.sql("DELETE FROM job_effects")
    migrated.sql("DELETE FROM bedrock_chat_job")
    migrated.sql("DELETE FROM bedrock_chat_worker")
    migrated.workers.clear()
    yield migrated
    migrated.end()


@pytest.fixture
def kinds(settings: LazySettings) -> None:
    """Two kinds of jobs, none of them periodic."""
    settings.JOBS = {"note": "tests.jobs.handlers.note", "tick": "tests.jobs.handlers.tick"}
    settings.JOB_SCHEDULE = {}
    settings.JOB_LEASE_SECONDS = 10

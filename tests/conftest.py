"""Fixtures of all tests: real parts, made once."""

import gc
import math
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from django.conf import settings as django_settings
from django.core.cache import caches
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.bedrock import clients
from bedrock_chat.bedrock.overrides import last_faults, snapshot
from bedrock_chat.identity import last_seen
from bedrock_chat.ledger.budgets import payers
from bedrock_chat.ledger.rollups import refusals
from bedrock_chat.process import heartbeat
from conversations.turn import leases
from tests import certificates, emptying, hashing, selecting, static_files, templates
from tests.emulator import Emulator
from tests.people import auth

# No example is too late, and none too slow to be made, because the machine has other things to do.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def django_db_keepdb(
    django_db_keepdb: bool, django_db_modify_db_settings: None, django_db_blocker: Any
) -> Iterator[bool]:
    """Whether the tests' database is there already: a copy of the run's template, which has its tables."""
    with django_db_blocker.unblock():
        database = connection.creation._get_test_db_name()
        is_copied = templates.copy_to(database)
    yield is_copied or django_db_keepdb
    if is_copied:
        with django_db_blocker.unblock():
            connection.close()
            templates.remove(database)


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def database_url(data: Path) -> Iterator[str]:
    """A database of the module's own, which several servers may share."""
    with new_database(data) as url:
        yield url


@contextmanager
def new_database(data: Path) -> Iterator[str]:
    """The address of an empty database, which lasts as long as the block."""
    database = django_settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        yield f"sqlite:///{data / 'live.sqlite3'}"
        return
    name = f"live_{uuid.uuid4().hex[:12]}"
    options = {"host": database["HOST"] or database.get("OPTIONS", {}).get("host"), "port": database["PORT"] or None}
    parameters = {"user": database["USER"], "password": database["PASSWORD"], **options}
    with psycopg.connect(dbname="postgres", autocommit=True, **parameters) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            user, password = parameters["user"], parameters["password"]
            login = f"{user}:{password}@" if password else f"{user}@"
            if str(options["host"]).startswith("/"):
                yield f"postgres://{login}/{name}?host={options['host']}"
            else:
                yield f"postgres://{login}{options['host']}:{options['port'] or 5432}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def emulator(emulator_process: Emulator, settings: Any) -> Iterator[Emulator]:
    """The Bedrock emulator, with nothing left of earlier tests; boto3 talks to it over HTTP."""
    emulator_process.reset()
    settings.BEDROCK_ENDPOINT_URL = settings.BEDROCK_CONTROL_ENDPOINT_URL = emulator_process.url
    settings.BEDROCK_AGENT_RUNTIME_ENDPOINT_URL = settings.BEDROCK_AGENT_ENDPOINT_URL = emulator_process.url
    clients.reset()
    yield emulator_process
    clients.reset()


@pytest.fixture(autouse=True)
def own_files(settings: Any, tmp_path: Path) -> None:
    """Gives every test blob storage of its own, and no counters of other tests."""
    storages = dict(settings.STORAGES)
    storages["default"] = {**storages["default"], "OPTIONS": {"location": tmp_path / "blobs"}}
    settings.STORAGES = storages
    caches["ratelimit"].clear()


@pytest.fixture(autouse=True)
def no_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process knows of no budgets, and does not look for any, until a test sets one or forgets."""
    monkeypatch.setattr(payers, "_snapshot", payers.Snapshot(frozenset(), (0, None), math.inf))


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process knows of no settings of models by operators, and does not look for any, until a test makes one."""
    monkeypatch.setattr(snapshot, "_snapshot", replace(snapshot.NEVER, read_at=math.inf))


@pytest.fixture(autouse=True)
def own_heartbeat() -> Iterator[None]:
    """Stops a heartbeat that a test has started, which must not query the database after the test.

    What it would have written of refusals and faults is forgotten.
    """
    yield
    heartbeat.stop()
    refusals.forget()
    last_faults.forget()
    last_seen.forget()


@pytest.fixture
def beating_heart() -> Iterator[None]:
    """The heartbeat, as servers and workers have it."""
    heartbeat.start()
    yield
    heartbeat.register("turn leases", django_settings.TURN_LEASE_SECONDS / 3, leases.renew)


@pytest.fixture
def client_of() -> Callable[..., APIClient]:
    """An API client that calls as a person: `client_of("alice")`, `client_of("carol", "Admin")`."""

    def make(username: str, *groups: str) -> APIClient:
        client = APIClient()
        client.credentials(**auth(username, *groups))
        return client

    return make


def pytest_configure() -> None:
    gc.disable()
    emptying.replace_flush()
    static_files.find_once()
    hashing.make_quick()
    certificates.read_once()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of few tests come first: theirs start processes and take long. At the end many quick ones fill the gaps."""
    tests_of = Counter(item.path for item in items)
    items.sort(key=lambda item: tests_of[item.path])
    selecting.check(items)


def pytest_collection_finish() -> None:
    """The collector would walk thousands of tests and all imports again and again, a tenth of the CPU of a run."""
    gc.freeze()
    gc.enable()


def pytest_report_header() -> list[str]:
    return [f"database: {os.environ.get('DATABASE_URL', 'SQLite file').partition('@')[2] or 'SQLite file'}"]


@pytest.fixture
def png() -> str:
    """A 1 × 1 image in base64."""
    return "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

"""What a fetch of a test has: a folder, and this machine's addresses allowed."""

import socket
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.process.interruption import Interruption
from bots.knowledge.sources import robots
from bots.knowledge.sources.locations import FetchContext
from tests.outbound.servers import Names


@pytest.fixture(autouse=True)
def _nothing_is_known_of_sites() -> Iterator[None]:
    robots.forget()
    yield
    robots.forget()


@pytest.fixture
def local(settings: Any) -> None:
    """Allows calls to addresses of this machine, as many as a test likes."""
    settings.CRAWL_PAGES_PER_MINUTE = 100_000
    settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.0/8"),), frozenset())


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    resolver = Names()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    return resolver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where fetched files go; a test sees what is left there."""
    made = tmp_path / "fetched"
    made.mkdir()
    return made


@pytest.fixture
def context(folder: Path) -> FetchContext:
    return FetchContext(folder, Interruption())

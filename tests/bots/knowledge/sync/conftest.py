"""Alice's client, and a server that reads sites of this machine."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest
from rest_framework.test import APIClient


@pytest.fixture
def alice(client_of: Callable[..., APIClient]) -> APIClient:
    return client_of("alice", "CreatingBotAllowed")


@pytest.fixture
def local(settings: Any) -> None:
    """Sites of this machine may be crawled, as fast as they answer."""
    settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.0/8"),), frozenset())
    settings.CRAWL_PAGES_PER_MINUTE = 100_000

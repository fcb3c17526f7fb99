"""Dave, who may create and publish bots; Carol, Admin; and Dave's published bot."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from tests.bots.bot import make, share
from tests.encryption.vault import new_key
from tests.publication.api import Api, publish

ClientOf = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def _encryption_key(settings: LazySettings) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]


@pytest.fixture
def dave(client_of: ClientOf) -> APIClient:
    return client_of("dave", "CreatingBotAllowed", "PublishAllowed")


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    return client_of("alice")


@pytest.fixture
def carol(client_of: ClientOf) -> APIClient:
    return client_of("carol", "Admin")


@pytest.fixture
def bob(client_of: ClientOf) -> APIClient:
    return client_of("bob", "CreatingBotAllowed", "PublishAllowed")


@pytest.fixture
def api(dave: APIClient, emulator: Any) -> Api:
    """Dave's bot `helper`, published without limits."""
    make(dave, "helper")
    share(dave, "helper", "all")
    return publish(dave, "helper")

"""Alice, who may create bots; Bob, a plain user; Carol, Admin."""

from collections.abc import Callable

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from tests.encryption.vault import new_key

ClientOf = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def _encryption_key(settings: LazySettings) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    return client_of("alice", "CreatingBotAllowed")


@pytest.fixture
def bob(client_of: ClientOf) -> APIClient:
    return client_of("bob")


@pytest.fixture
def carol(client_of: ClientOf) -> APIClient:
    return client_of("carol", "Admin")

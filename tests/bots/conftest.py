"""Alice, who may create bots; Bob, a plain user; Carol, Admin."""

from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient, ForceAuthClientHandler

from bots import guardrails
from bots.models import Bot, BotVersion
from tests.bots.bot import make, read
from tests.encryption.vault import new_key

ClientOf = Callable[..., APIClient]


@pytest.fixture(autouse=True)
def _encryption_key(settings: LazySettings) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]


@pytest.fixture(scope="session")
def loaded_handler() -> ForceAuthClientHandler:
    """What answers requests, with its middleware loaded once: that takes ten times as long as a request."""
    return ForceAuthClientHandler(enforce_csrf_checks=False)


@pytest.fixture
def client_of(client_of: ClientOf, loaded_handler: ForceAuthClientHandler) -> ClientOf:
    """As everywhere, and faster."""

    def make(username: str, *groups: str) -> APIClient:
        client = client_of(username, *groups)
        client.handler = loaded_handler
        return client

    return make


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    return client_of("alice", "CreatingBotAllowed")


@pytest.fixture
def bob(client_of: ClientOf) -> APIClient:
    return client_of("bob")


@pytest.fixture
def carol(client_of: ClientOf) -> APIClient:
    return client_of("carol", "Admin")


@pytest.fixture
def untouched(alice: APIClient) -> Iterator[None]:
    """Alice's bot `b`, which is afterwards as it was. No bot `refused` has come into being."""
    before = make(alice, "b")
    yield
    assert read(alice, "b") == before
    assert BotVersion.objects.count() == 1
    assert not Bot.objects.filter(pk="refused").exists()


@pytest.fixture
def deleted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no new turn uses is deleted at once."""
    monkeypatch.setattr(guardrails, "KEPT_SECONDS", 0.0)

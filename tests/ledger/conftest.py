"""Alice, Bob and Dave, whose bot is published, with budgets."""

from collections.abc import Callable

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from tests.bots.bot import make, share
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.ledger.world import LONG, World, set_budgets
from tests.publication.api import publish


@pytest.fixture
def world(client_of: Callable[..., APIClient], emulator: Emulator, settings: LazySettings) -> World:
    settings.ENCRYPTION_KEYS = [new_key()]
    settings.MODEL_RETRY_SECONDS = 0.5
    clients = {
        "alice": client_of("alice", "staff"),
        "bob": client_of("bob", "staff", "others"),
        "dave": client_of("dave", "CreatingBotAllowed", "PublishAllowed"),
    }
    make(clients["dave"], "helper", instruction=LONG)
    share(clients["dave"], "helper", "all")
    api = publish(clients["dave"], "helper")
    for client in clients.values():
        client.get("/conversations")
    set_budgets()
    return World(16, clients, api)

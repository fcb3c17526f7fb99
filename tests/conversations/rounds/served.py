"""Search engines on this machine, which a word in the query makes fail."""

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from bedrock_chat.bedrock import agents
from bots.tools import duckduckgo, servers
from tests.bots.tools import engines
from tests.bots.tools.engines import Engines
from tests.encryption.vault import new_key


@pytest.fixture
def served(settings: LazySettings) -> Iterator[Engines]:
    settings.ENCRYPTION_KEYS = [new_key()]  # for the engine's own key
    with engines.running() as running:
        settings.FIRECRAWL_URL = running.url
        settings.DUCKDUCKGO_URL = running.duckduckgo
        settings.OUTBOUND_ALLOW = ((), frozenset({("127.0.0.1", running.port)}))
        settings.OUTBOUND_HTTP_CREDENTIALS = True
        forget()
        yield running
    forget()


def forget() -> None:
    """Nothing is known of what engines and agents have answered, and no server rests."""
    agents.forget()
    duckduckgo._engine.cache_clear()
    duckduckgo.kept.clear()
    servers._places._servers.clear()

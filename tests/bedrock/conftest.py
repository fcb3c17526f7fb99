"""Fixtures of the calls to Bedrock."""

from collections.abc import Iterator
from typing import Any

import pytest

from bedrock_chat.bedrock import clients, retrying
from tests.bedrock.scripted import ScriptedBedrock


@pytest.fixture
def bedrock(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedBedrock]:
    """A scripted Bedrock that the process's client calls. Nothing is retried unless a test allows it."""
    settings.BEDROCK = "emulator"
    settings.MODEL_RETRY_SECONDS = 0
    monkeypatch.setattr(retrying, "FIRST_WAIT", 0.02)
    with ScriptedBedrock() as scripted:
        settings.BEDROCK_ENDPOINT_URL = scripted.url
        clients.reset()
        yield scripted
        clients.reset()

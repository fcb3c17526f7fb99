"""Addresses of documents in S3 are signed where the turn runs or is read, and never on the event loop."""

from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import document_links
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bots.tools import results
from bots.tools.tool import TextPart
from conversations import access
from conversations.models import Message, Role
from conversations.streaming import replay
from conversations.streaming.events import encoded, stream_event_of
from conversations.turn.types import TurnOpened
from tests.conversations.chat import say
from tests.conversations.rounds.tooling import calls, make_bot, offering, tool
from tests.emulator import Emulator

LINK = "s3://doc-bucket/guide.pdf"
SIGNED = "https://doc-bucket.s3.eu-central-1.amazonaws.com/guide.pdf?"
DOCUMENT = FoundDocument("t1", {"text": "x"}, "t1", source_link=LINK)


@pytest.fixture
def signing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.BEDROCK_REGION = "eu-central-1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    document_links._client.cache_clear()
    settings.BEDROCK = "aws"
    yield
    document_links._client.cache_clear()


@pytest.mark.usefixtures("signing")
def test_an_address_is_signed_when_the_turn_tells_of_it_and_not_when_it_is_sent() -> None:
    event = stream_event_of(DOCUMENT, TurnOpened("c", "q", "a", 1, 1))
    assert isinstance(event, FoundDocument)
    assert (event.source_link or "").startswith(SIGNED)
    assert encoded(event)[1]["relatedDocument"]["sourceLink"] == event.source_link
    assert encoded(DOCUMENT)[1]["relatedDocument"]["sourceLink"] == LINK


@pytest.mark.django_db(transaction=True)
def test_an_address_is_signed_anew_when_an_answer_is_told_again(
    client_of: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    passage = FoundDocument("", {}, "", source_link=LINK)
    offering(monkeypatch, tool(run=lambda value, context: results.of([TextPart("x")], [passage])))
    alice: APIClient = client_of("alice", "CreatingBotAllowed")
    assert say(alice, "c1", calls(("search", {"query": "q"})), bot_id=make_bot(alice)).status_code == 200
    request.getfixturevalue("signing")
    actor = Caller(user_id=User.objects.get(username="alice").pk)
    conversation = access.get_conversation(actor, "c1")
    events = replay.events_of_newest_turn(actor, conversation, Message.objects.get(role=Role.USER))
    [document] = [event for event in events if isinstance(event, FoundDocument)]
    assert (document.source_link or "").startswith(SIGNED)

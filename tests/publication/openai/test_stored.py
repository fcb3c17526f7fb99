"""Chat completions that the owner wants kept: whole, for the owner alone, and gone with the owner."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation, Message
from publication.models import Publication, TurnRequest
from publication.published_urls import urlpatterns
from tests.bots.bot import body
from tests.publication.api import UNLIMITED, Api, publish, question
from tests.publication.openai.chat import assistant, complete, image, post, stream, system, user
from tests.traces import anything_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
PATH = "/bot/helper/publication"
WORD = "Rumpelstilzchen"


@pytest.fixture
def kept(api: Api, dave: APIClient) -> Api:
    """Dave's API, which keeps chat completions."""
    body(dave.patch(PATH, {"storeOpenAI": True}, format="json"))
    return api


def messages_of(conversation: Conversation) -> list[Message]:
    """From the first question down."""
    below = {row.parent_id: row for row in conversation.messages.all()}
    assert len(below) == conversation.messages.count()
    path, parent = [], None
    while (row := below.get(parent)) is not None:
        path.append(row)
        parent = row.pk
    return path


def text_of(row: Message) -> str:
    return "".join(block.get("body", "") for block in row.content)


def test_whether_they_are_kept_is_the_publications_and_no_by_default(api: Api, dave: APIClient) -> None:
    assert body(dave.get(PATH))["storeOpenAI"] is False
    complete(api)
    assert not Conversation.objects.exists()
    body(dave.patch(PATH, {"storeOpenAI": True}, format="json"))
    body(dave.patch(PATH, {"stage": "dev"}, format="json"))  # which leaves it
    assert body(dave.get(PATH))["storeOpenAI"] is True
    entry = AuditEntry.objects.filter(fields=["store_openai"]).get()
    assert entry.values == {"store_openai": {"before": False, "after": True}}
    assert dave.patch(PATH, {"storeOpenAI": "often"}, format="json").status_code == 400
    body(dave.delete(PATH))
    publish(dave, "helper", {**UNLIMITED, "storeOpenAI": True})
    assert Publication.objects.get().store_openai


def test_history_and_answer_are_a_conversation_of_its_own(kept: Api) -> None:
    complete(kept, system("Be brief."), user("a"), assistant("b"), user("c"), user("d"))
    stream(kept, user("e"))
    first, second = Conversation.objects.order_by("pk")
    assert [text_of(row) for row in messages_of(first)] == ["a", "b", "cd", "Echo: d"]
    assert [row.stop_reason for row in messages_of(first)] == ["", "", "", "end_turn"]
    assert first.instruction == "You are helper.\n\nBe brief."
    assert [text_of(row) for row in messages_of(second)] == ["e", "Echo: e"]
    for conversation, call in zip((first, second), ModelCall.objects.order_by("pk"), strict=True):
        assert call.conversation_external_id == conversation.external_id
        assert call.message_external_id == conversation.last_question == messages_of(conversation)[-2].external_id
        assert (conversation.user_id, conversation.bot_id) == (None, "helper")
        assert conversation.size


def test_a_call_that_failed_is_not_kept(kept: Api) -> None:
    assert post(kept, user("[[validation]]")).status_code == 400
    assert "error" in stream(kept, user("[[words:5]] [[streamerror]]"))[-1]
    assert not Conversation.objects.exists()


def test_no_key_can_read_one_by_any_route(kept: Api) -> None:
    complete(kept, user(WORD))
    conversation = Conversation.objects.get()
    message = messages_of(conversation)[-2]
    routes = [str(pattern.pattern) for pattern in urlpatterns if "<str:conversation_id>" in str(pattern.pattern)]
    assert len(routes) >= 2
    for route in routes:
        for conversation_id in (conversation.external_id, conversation.external_id.replace("/", "%2F")):
            path = route.replace("<str:bot_id>", "helper").replace("<str:stage>", "api")
            path = path.replace("<str:conversation_id>", conversation_id)
            path = path.replace("<str:message_id>", message.external_id)
            for method in ("get", "post"):
                answer = getattr(APIClient(), method)(f"/{path}", HTTP_X_API_KEY=kept.key)
                assert answer.status_code in (404, 405), path
                assert WORD not in answer.content.decode()
    refused = kept.post(question(conversationId=conversation.external_id))
    assert refused.status_code == 400
    assert not TurnRequest.objects.exists()


def test_what_is_kept_is_exported_and_erased_with_its_owner(kept: Api, png: str, tmp_path: Path) -> None:
    complete(kept, user([{"type": "text", "text": WORD}, image(png)]), assistant(WORD), user(WORD), user=WORD)
    owner = User.objects.get(username="dave").pk
    call_command("export_user", owner, "--to", str(tmp_path / "export"))
    lines = (tmp_path / "export" / "published-conversations.jsonl").read_text().splitlines()
    [exported] = map(json.loads, lines)
    assert json.dumps(exported).count(WORD) == 4
    list(erasing.erase(owner, actor=Program.command("erase_user")))
    assert anything_of(WORD) == []
    assert not Conversation.objects.exists()
    assert not BlobReference.objects.exists()


def test_nothing_is_kept_of_an_api_that_was_withdrawn_meanwhile(
    kept: Api, monkeypatch: pytest.MonkeyPatch, dave: APIClient
) -> None:
    from publication.openai import storing

    store = storing.store

    def late(*args: Any, **fields: Any) -> None:
        body(dave.delete(PATH))
        store(*args, **fields)

    monkeypatch.setattr(storing, "store", late)
    complete(kept)
    assert not Conversation.objects.exists()

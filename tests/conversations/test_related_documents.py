"""Documents that tools find are stored with their answer, listed, opened, and deleted with the conversation."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.events import TextDelta
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.blobs import local_storage
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from conversations.content.blocks import Content
from conversations.models import Message, Outcome, RelatedDocument
from conversations.turn import closing, opening
from conversations.turn.registry import RunningTurn
from conversations.turn.types import Answer, ChatInput, OpenTurn
from tests import build
from tests.conversations.chat import read

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]

CHUNK = FoundDocument("t1", {"text": "Chunk one text"}, "t1@0", "guide.pdf", "https://example.com/guide.pdf", 3)
PAGE = FoundDocument("t1", {"text": "Chunk two text"}, "t1@1", "https://example.com/page", "https://example.com/page")
RESULT = FoundDocument("t2", {"json": {"some_key": [1, {"otherKey": None}]}}, "t2")


def open_turn(name: str, conversation: str, **fields: Any) -> RunningTurn:
    """A running turn of the user `name`, before its model answers."""
    actor = Caller(user_id=local.local_user(name).pk)
    chat = ChatInput(conversation, catalog.find(build.MODEL), Content(build.text("What does it say?"), {}), **fields)
    turn = opening.open_turn(chat, actor=actor)
    assert isinstance(turn, OpenTurn)
    return RunningTurn(turn)


def answer_with(
    *documents: FoundDocument, name: str = "alice", conversation: str = "c1", cut: bool = False, **fields: Any
) -> Answer:
    """The answer of a turn whose tools found these documents. With `cut`, the answer was interrupted."""
    running = open_turn(name, conversation, **fields)
    running.documents += documents
    running.answer.feed(TextDelta("It says so."))
    if cut:
        return closing.close_turn(running, "interrupted", outcome=Outcome.INTERRUPTED)
    return closing.close_turn(running, "end_turn")


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    return client_of("alice")


def documents(client: APIClient, conversation: str = "c1") -> list[dict[str, Any]]:
    response = client.get(f"/conversation/{conversation}/related-documents")
    assert response.status_code == 200, response.content
    listed: list[dict[str, Any]] = response.json()
    return listed


def ids(client: APIClient, conversation: str = "c1") -> list[str]:
    return [document["sourceId"] for document in documents(client, conversation)]


def test_a_turns_close_keeps_them_with_its_answer(alice: APIClient) -> None:
    answer_with(CHUNK, PAGE, RESULT)
    assert documents(alice) == [
        {
            "content": {"json": {"some_key": [1, {"otherKey": None}]}},
            "sourceId": "t2",
            "sourceName": None,
            "sourceLink": None,
            "pageNumber": None,
        },
        {
            "content": {"text": "Chunk two text"},
            "sourceId": "t1@1",
            "sourceName": "https://example.com/page",
            "sourceLink": "https://example.com/page",
            "pageNumber": None,
        },
        {
            "content": {"text": "Chunk one text"},
            "sourceId": "t1@0",
            "sourceName": "guide.pdf",
            "sourceLink": "https://example.com/guide.pdf",
            "pageNumber": 3,
        },
    ]
    answer = Message.objects.get(role="assistant")
    assert {row.answer_id for row in RelatedDocument.objects.all()} == {answer.pk}


def test_each_opens_by_its_id_whatever_it_is(alice: APIClient) -> None:
    answer = build.exchange(build.conversation(local.local_user("alice"), "c1"), "hello")
    names = ["t@0", "a/b@1", "x/title", "x/feedback", "related-documents", "ü ?#%&+", "🦄"]
    names += ["related-documents/x", "x/related-documents", "https://example.com/related-documents/related-documents/1"]
    for name in names:
        build.related_document(answer, name)
    for name in names:
        quoted = "".join(f"%{byte:02X}" for byte in name.encode()).replace("%2F", "/")
        response = alice.get(f"/conversation/c1/related-documents/{quoted}")
        assert (response.status_code, response.json()["sourceId"]) == (200, name)
    assert ids(alice) == sorted(names, reverse=True)


@pytest.mark.parametrize(("source_id", "kept"), [("a\nb", "a�b"), (".", ".@"), ("..", "..@"), ("\x7f", "�")])
def test_an_id_that_no_url_can_name_is_made_one_that_it_can(alice: APIClient, source_id: str, kept: str) -> None:
    answer_with(FoundDocument("t1", {"text": "x"}, source_id))
    assert ids(alice) == [kept]
    assert alice.get(f"/conversation/c1/related-documents/{quote(kept)}").json()["sourceId"] == kept


def test_what_is_not_there_or_not_yours_is_a_404(alice: APIClient, client_of: ClientOf) -> None:
    bob, carol = client_of("bob"), client_of("carol", "Admin")
    build.related_document(build.exchange(build.conversation(local.local_user("alice"), "c1"), "hello"), "t@0")
    build.conversation(local.local_user("bob"), "c1")
    assert alice.get("/conversation/c1/related-documents/t@1").status_code == 404
    assert alice.get("/conversation/c2/related-documents").status_code == 404
    assert (documents(bob), bob.get("/conversation/c1/related-documents/t@0").status_code) == ([], 404)
    for path in ("", "/t@0"):
        assert carol.get(f"/conversation/c1/related-documents{path}").status_code == 404


def test_bodies_are_files_and_leave_with_the_conversation(alice: APIClient, png: str) -> None:
    image = {"format": "png", "image": png}
    page = {"format": "txt", "document": "bm90ZXM=", "name": "notes"}
    answer_with(FoundDocument("t1", image, "t1@0"), FoundDocument("t1", page, "t1@1"))
    assert [document["content"] for document in documents(alice)] == [page, image]
    assert [set(row.content) for row in RelatedDocument.objects.order_by("pk")] == [
        {"format", "blob", "kind"},
        {"format", "name", "blob", "kind"},
    ]
    assert BlobReference.objects.count() == 2
    assert alice.delete("/conversation/c1").json() is None
    assert not RelatedDocument.objects.exists()
    assert not BlobReference.objects.exists()


def test_a_source_that_is_found_again_is_told_as_it_was_found_last(alice: APIClient) -> None:
    answer_with(CHUNK, PAGE)
    answer_with(CHUNK, FoundDocument("t1", {"text": "Chunk one, revised"}, "t1@0"))
    assert [document["content"]["text"] for document in documents(alice)] == ["Chunk two text", "Chunk one, revised"]
    last = read(alice, "c1")["lastMessageId"]
    assert RelatedDocument.objects.get(source_id="t1@0").answer.external_id == last


def test_the_same_source_may_be_found_in_two_conversations(alice: APIClient) -> None:
    for name in ("c1", "c2"):
        answer_with(CHUNK, conversation=name)
        assert ids(alice, name) == ["t1@0"]


def test_an_answer_that_was_cut_short_has_what_was_found_until_then(alice: APIClient) -> None:
    answer_with(CHUNK, cut=True)
    last = read(alice, "c1")
    assert last["messageMap"][last["lastMessageId"]]["stopReason"] == "interrupted"
    assert ids(alice) == ["t1@0"]


def test_a_turn_without_an_answer_leaves_none(alice: APIClient) -> None:
    running = open_turn("alice", "c1")
    running.documents.append(CHUNK)
    closing.close_failed(running)
    assert documents(alice) == []


def test_a_continuation_adds_to_the_answer_it_extends(alice: APIClient) -> None:
    conversation = build.conversation(local.local_user("alice"), "c1")
    answer = build.exchange(conversation, "long", stop_reason="max_tokens")
    answer_with(CHUNK, continue_generate=True)
    assert RelatedDocument.objects.get().answer_id == answer.pk


@pytest.mark.parametrize(
    "document",
    [
        FoundDocument("t1", {"text": 5}, "t1@0"),
        FoundDocument("t1", {}, "t1@0"),
        FoundDocument("t1", {"format": "png", "image": "no base64"}, "t1@0"),
        FoundDocument("t1", {"text": "x"}, ""),
        FoundDocument("t1", {"text": "x"}, "x" * 513),
    ],
)
def test_what_cannot_be_kept_costs_no_answer(alice: APIClient, document: FoundDocument) -> None:
    assert answer_with(document, PAGE).content == build.text("It says so.")
    assert ids(alice) == ["t1@1"]


def test_a_storage_that_fails_costs_no_answer(alice: APIClient, png: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(local_storage.LocalFiles, "_save", full)
    answer_with(FoundDocument("t1", {"format": "png", "image": png}, "t1@0"), PAGE)
    assert ids(alice) == ["t1@1"]


def test_words_that_a_database_cannot_keep_are_kept_as_well_as_can_be(alice: APIClient) -> None:
    answer_with(FoundDocument("t1", {"text": "a\0b \ud800"}, "t1\0@0", "name\0", None, -5))
    [document] = documents(alice)
    assert (document["content"], document["sourceId"]) == ({"text": "a�b �"}, "t1�@0")
    assert (document["sourceName"], document["pageNumber"]) == ("name�", None)

"""Query budgets: how many statements a route may cost, and that the number does not grow with the data."""

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.database.postgresql import pipeline
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from conversations.content.blocks import Content
from conversations.models import Message, RelatedDocument
from conversations.search import indexing
from conversations.turn import lifecycle
from conversations.turn.types import ChatInput
from tests import build
from tests.conversations.chat import say
from tests.emulator import Emulator

ASKED_IN_VAIN = 1 if connection.vendor == "postgresql" else 0
"""The tree of a conversation that turns out to be new: PostgreSQL is asked for it together with the conversation."""

ClientOf = Callable[..., APIClient]


def statements(captured: CaptureQueriesContext) -> list[str]:
    """The SQL statements, without those that begin or end a transaction or read the clock."""
    return [
        query["sql"]
        for query in captured.captured_queries
        if not re.match(r"BEGIN|COMMIT|SAVEPOINT|RELEASE|SELECT clock_timestamp", query["sql"])
    ]


def alice_of(client: APIClient) -> User:
    client.get("/conversations")
    return User.objects.get(username="alice")


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_turn_costs_the_same_however_long_the_conversation_is(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    user = alice_of(alice)
    costs = {}
    for exchanges in (1, 200):
        conversation = build.long_conversation(user, exchanges)
        with CaptureQueriesContext(connection) as captured:
            assert say(alice, conversation.external_id, "one more").status_code == 200
        costs[exchanges] = len(statements(captured))
    # user; conversation, tree, bodies, question, last question; conversation, lease, answer, ledger
    assert costs == {1: 10, 200: 10}


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_first_turn_costs_less(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice_of(alice)
    with CaptureQueriesContext(connection) as captured:
        assert say(alice, "c1", "hello").status_code == 200
    # user; no conversation yet, conversation, question; conversation, lease, answer, ledger
    assert len(statements(captured)) == 8 + ASKED_IN_VAIN


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_turn_that_is_listened_to_costs_what_a_plain_one_does(client_of: ClientOf, emulator: Emulator) -> None:
    alice_of(client_of("alice"))
    actor = Caller(user_id=User.objects.get(username="alice").pk)
    costs = []
    for listener in (None, object()):
        content = Content(build.text("hello"), {})
        chat = ChatInput(f"heard by {listener}", catalog.find(build.MODEL), content)
        with CaptureQueriesContext(connection) as captured:
            lifecycle.drain(lifecycle.run(chat, actor=actor, listener=listener))
        costs.append(len(statements(captured)))
    assert costs == [7 + ASKED_IN_VAIN] * 2


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_statements_that_need_no_result_of_each_other_share_a_round_trip(
    client_of: ClientOf, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("a file is no network away")
    alice = client_of("alice")
    alice_of(alice)
    run, batches = pipeline.run, []
    monkeypatch.setattr(pipeline, "run", lambda *arguments: batches.append(len(arguments[1])) or run(*arguments))
    assert say(alice, "c1", "hello", message_id="m1").status_code == 200
    # user; conversation with tree and clock, conversation inserted, question; conversation, lease, answer, ledger
    assert batches == [1, 3, 1, 1, 4]
    batches.clear()
    assert say(alice, "c1", "one more").status_code == 200
    # user; conversation with tree and clock, bodies, question with last question; conversation, lease, answer, ledger
    assert batches == [1, 3, 1, 2, 4]
    batches.clear()
    assert say(alice, "c1", "hello", message_id="m1").status_code == 200
    # user; conversation with tree and clock, answer
    assert batches == [1, 3, 1]


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_no_body_off_the_path_is_read(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(alice_of(alice), "c1")
    first = build.exchange(conversation, "on the path")
    build.exchange(conversation, "another branch")
    build.exchange(conversation, "off the path, too", under=first)
    with CaptureQueriesContext(connection) as captured:
        assert say(alice, "c1", "next", parent=first.external_id).status_code == 200
    reads = [sql for sql in statements(captured) if sql.startswith("SELECT") and '"content"' in sql]
    assert len(reads) == 1
    match = re.search(r"json_each\('\[([\d,]+)\]'\)|ANY\('\{([\d,]+)\}'", reads[0])
    assert match is not None, reads[0]
    assert {int(pk) for pk in (match[1] or match[2]).split(",")} == {first.pk, first.parent_id}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "budget"),
    [
        ("get", "/conversations", 2),  # user, list
        ("get", "/conversations?limit=1", 2),
        ("get", "/conversation/c1", 4),  # user, conversation, tree, bodies
        ("get", "/conversations/search?query=message", 4),  # user, documents, conversations, messages
        ("get", "/conversations/search?query=unheard", 6),  # user, documents, words (three times), documents
        ("get", "/conversation/c1?blobs=reference", 4),
        # user, conversation (lock, cascade, itself), references, index (four times), related documents, messages
        ("delete", "/conversation/c1", 11),
        ("delete", "/conversations", 11),
        ("post", "/conversations/bulk-delete", 11),
        ("put", "/conversation/c1/system/feedback", 3),
        ("put", "/conversation/c1/{question}/feedback", 4),  # user, conversation, message, update
        ("get", "/conversation/c1/related-documents", 3),
        ("get", "/conversation/c1/related-documents/t@1", 3),
        ("patch", "/conversation/c1/title", 3),
        ("get", "/conversation/c1/{question}/stream", 6),  # user, conversation, question, answer, ledger
        ("post", "/conversation/c1/{question}/stop", 3),
        ("get", "/health", 0),
        ("get", "/config/global", 0),
        ("get", "/ready", 0),  # it asks on a thread of its own
    ],
)
def test_every_route_keeps_its_budget(client_of: ClientOf, method: str, path: str, budget: int) -> None:
    alice = client_of("alice")
    conversation = build.long_conversation(alice_of(alice), 20, "c1")
    indexing.index_what_is_new()
    answer = conversation.messages.filter(role="assistant").latest("pk")
    for number in range(3):
        build.related_document(answer, f"t@{number}")
    path = path.replace("{question}", conversation.last_question)
    body = None if method == "get" else {"newTitle": "x", "thumbsUp": True, "conversationIds": ["c1", "c2"]}
    with CaptureQueriesContext(connection) as captured:
        response = getattr(alice, method)(path, body, format="json")
    assert response.status_code == 200
    assert len(statements(captured)) <= budget, "\n".join(statements(captured))


@pytest.mark.django_db
def test_deleting_leaves_nothing_behind(client_of: ClientOf) -> None:
    alice = client_of("alice")
    build.long_conversation(alice_of(alice), 3, "c1")
    build.related_document(Message.objects.filter(role="assistant").latest("pk"), "t@1")
    alice.delete("/conversation/c1")
    assert not Message.objects.exists()
    assert not RelatedDocument.objects.exists()

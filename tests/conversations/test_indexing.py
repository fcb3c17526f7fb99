"""When the search finds messages and titles, and when it no longer does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.search import index
from bedrock_chat.search.models import SearchDocument, SearchWord
from conversations import editing
from conversations.content.blocks import Content
from conversations.models import Conversation, Message, Outcome
from conversations.search import hits, indexing
from conversations.turn import opening
from conversations.turn.types import ChatInput
from tests import build
from tests.conversations.chat import ids_by_text, read, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]
KILLED = timedelta(seconds=-1)
RUNS = timedelta(minutes=1)


@pytest.fixture
def alice(client_of: ClientOf) -> User:
    return local.local_user("alice")


@pytest.fixture
def actor(alice: User) -> Caller:
    return Caller(user_id=alice.pk)


@pytest.fixture
def find(actor: Caller) -> Callable[[str], list[str]]:
    return lambda query: [hit["id"] for hit in hits.search(query, actor=actor)]


Find = Callable[[str], list[str]]


def touch(conversation: Conversation, **columns: Any) -> None:
    """Sets `updated_at`, as every turn does when it opens and when it closes."""
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=database_now(), **columns)


# ---- What is found when ---------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_turn_is_found_once_it_is_indexed(client_of: ClientOf, emulator: Emulator, find: Find) -> None:
    alice = client_of("alice")
    assert say(alice, "c1", "where is the lighthouse").status_code == 200
    assert find("lighthouse") == []
    assert indexing.index_what_is_new() == 1
    assert find("lighthouse") == ["c1"]
    assert say(alice, "c1", "and the harbour").status_code == 200
    assert indexing.index_what_is_new() == 1
    assert find("harbour") == find("echo") == ["c1"]
    assert indexing.index_what_is_new() == 0


def test_what_was_indexed_is_not_indexed_again(alice: User) -> None:
    conversation = build.conversation(alice, "c1")
    build.exchange(conversation, "first")
    indexing.index_what_is_new()
    before = set(SearchDocument.objects.values_list("pk", flat=True))
    build.exchange(conversation, "second")
    touch(conversation)
    indexing.index_what_is_new()
    after = set(SearchDocument.objects.values_list("pk", flat=True))
    assert before < after
    assert len(after) == 4


def test_a_turn_of_a_long_conversation_costs_what_one_of_a_short_one_does(alice: User) -> None:
    costs = {}
    for exchanges in (1, 200):
        conversation = build.long_conversation(alice, exchanges)
        while indexing.index_what_is_new():
            pass
        build.exchange(Conversation.objects.get(pk=conversation.pk), "one more")
        touch(conversation)
        with CaptureQueriesContext(connection) as captured:
            assert indexing.index_what_is_new() == 1
        reads = [query["sql"] for query in captured.captured_queries if "SELECT" in query["sql"]]
        costs[exchanges] = len(reads)
        assert SearchDocument.objects.filter(group_id=conversation.pk).count() == exchanges * 2 + 2
    assert costs[1] == costs[200]


def test_what_is_being_said_waits_until_the_turn_is_over(alice: User, find: Find) -> None:
    conversation = build.conversation(alice, "c1")
    question = build.question(conversation, "where is the lighthouse", outcome=Outcome.INTERRUPTED, lease=RUNS)
    build.answer(question, "it is so far", stop_reason="interrupted")
    assert indexing.index_what_is_new() == 0
    Message.objects.filter(pk=question.pk).update(lease_holder="", lease_expires_at=None)
    assert indexing.index_what_is_new() == 1
    assert find("lighthouse") == ["c1"]


def test_what_a_killed_turn_has_left_is_found_when_its_lease_is_over(alice: User, find: Find) -> None:
    question = build.question(build.conversation(alice, "c1"), "where", outcome=Outcome.INTERRUPTED, lease=KILLED)
    build.answer(question, "the lighthouse is", stop_reason="interrupted")
    indexing.index_what_is_new()
    assert find("lighthouse") == ["c1"]


def test_a_process_that_slept_past_its_lease_and_closes_its_turn_is_indexed_again(alice: User, find: Find) -> None:
    conversation = build.conversation(alice, "c1")
    question = build.question(conversation, "where", outcome=Outcome.INTERRUPTED, lease=KILLED)
    answer = build.answer(question, "partly lighthouse", stop_reason="interrupted")
    build.exchange(conversation, "meanwhile", under=answer)
    indexing.index_what_is_new()
    Message.objects.filter(pk=answer.pk).update(content=build.text("wholly harbour"), stop_reason="end_turn")
    Message.objects.filter(pk=question.pk).update(lease_holder="", lease_expires_at=None, outcome=Outcome.ANSWERED)
    touch(conversation)
    indexing.index_what_is_new()
    assert find("harbour") == ["c1"]
    assert find("lighthouse") == []
    assert not SearchDocument.objects.filter(settled=False).exists()


@pytest.mark.django_db(transaction=True)
def test_a_continued_answer_is_found_as_a_whole(client_of: ClientOf, emulator: Emulator, find: Find) -> None:
    alice = client_of("alice")
    say(alice, "c1", "[[max_tokens]]")
    indexing.index_what_is_new()
    assert find("this answer stops") == ["c1"]
    answer = ids_by_text(read(alice, "c1"))["This answer stops"]
    assert say(alice, "c1", "", parent=answer, continue_generate=True).status_code == 200
    indexing.index_what_is_new()
    assert find("stops and the rest") == ["c1"]
    assert SearchDocument.objects.count() == 2


@pytest.mark.parametrize("again", ["continued", "asked again"])
def test_a_turn_in_an_old_place_is_due_even_if_it_is_killed(alice: User, actor: Caller, again: str) -> None:
    """Opening a turn already makes its conversation due, because a killed process cannot do so later."""
    conversation = build.conversation(alice, "c1")
    outcome = Outcome.ANSWERED if again == "continued" else Outcome.FAILED
    question = build.question(conversation, "where", external_id="q1", outcome=outcome)
    if again == "continued":
        build.answer(question, "it is", stop_reason="max_tokens", external_id="a1")
    indexing.index_what_is_new()
    assert not Conversation.objects.to_be_indexed().exists()
    fields = (
        {"content": Content([], {}), "parent_external_id": "a1", "continue_generate": True}
        if again == "continued"
        else {"content": Content(build.text("where"), {}), "message_external_id": "q1"}
    )
    opening.open_turn(ChatInput("c1", catalog.find(build.MODEL), **fields), actor=actor)
    assert Conversation.objects.to_be_indexed().exists()


def test_a_renamed_conversation_is_found_by_its_new_title_alone(alice: User, actor: Caller, find: Find) -> None:
    conversation = build.conversation(alice, "c1", title="Lighthouses")
    build.exchange(conversation, "a question")
    indexing.index_what_is_new()
    assert find("lighthouses") == ["c1"]
    editing.rename("c1", "Harbours", actor=actor)
    indexing.index_what_is_new()
    assert find("harbours") == find("question") == ["c1"]
    assert find("lighthouses") == []
    assert "lighthouses" not in SearchWord.objects.values_list("word", flat=True)


def test_every_untitled_conversation_is_not_about_conversations(alice: User, find: Find) -> None:
    build.exchange(build.conversation(alice, "c1"), "a question")
    indexing.index_what_is_new()
    assert find("new conversation") == []


def test_a_change_by_an_earlier_clock_is_a_change(alice: User, find: Find) -> None:
    """One writer may wait for another after both have read the clock, so `updated_at` can go back."""
    conversation = build.conversation(alice, "c1")
    build.exchange(conversation, "first")
    indexing.index_what_is_new()
    build.exchange(conversation, "second")
    Conversation.objects.filter(pk=conversation.pk).update(updated_at=F("updated_at") - timedelta(milliseconds=3))
    indexing.index_what_is_new()
    assert find("second") == ["c1"]


def test_a_long_conversation_is_indexed_a_part_at_a_time(alice: User, find: Find) -> None:
    conversation = build.long_conversation(alice, indexing.MESSAGES_AT_ONCE + 10)
    assert indexing.index_what_is_new(limit=1) == 1
    assert SearchDocument.objects.count() == indexing.MESSAGES_AT_ONCE
    assert Conversation.objects.to_be_indexed().exists()
    assert indexing.index_what_is_new() == 2
    assert SearchDocument.objects.count() == conversation.messages.count()
    assert not Conversation.objects.to_be_indexed().exists()
    assert find(f"message {indexing.MESSAGES_AT_ONCE * 2 + 19}")[0] == conversation.external_id


def test_the_oldest_are_indexed_first(alice: User, find: Find) -> None:
    for age in (3, 1, 2):
        conversation = build.conversation(alice, f"c{age}", updated_at=timezone.now() - timedelta(hours=age))
        build.exchange(conversation, "lighthouse")
    assert indexing.index_what_is_new(limit=2) == 2
    assert set(find("lighthouse")) == {"c3", "c2"}


def test_what_cannot_be_indexed_costs_the_others_nothing(
    alice: User, find: Find, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        build.exchange(build.conversation(alice, f"c{number}"), "poison" if number == 1 else "lighthouse")

    def write(group: index.Group, documents: list[index.Document], _write: Any = index.write_anew) -> None:
        if any("poison" in document.text for document in documents):
            raise ValueError
        _write(group, documents)

    monkeypatch.setattr(indexing, "_set_back", {})
    monkeypatch.setattr(index, "write_anew", write)
    assert indexing.index_what_is_new() == 2
    assert set(find("lighthouse")) == {"c0", "c2"}
    assert "poison" not in caplog.text
    assert "could not be indexed" in caplog.text
    monkeypatch.setattr(index, "write_anew", index.write)
    assert indexing.index_what_is_new() == 0  # it waits before it tries again
    indexing._set_back.clear()
    assert indexing.index_what_is_new() == 1
    assert find("poison") == ["c1"]


def test_what_cannot_be_indexed_takes_nobodys_turn(alice: User, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        build.exchange(build.conversation(alice, f"poison-{number}"), "poison")
    build.exchange(build.conversation(alice, "c1"), "lighthouse")

    def write(group: index.Group, documents: list[index.Document], _write: Any = index.write_anew) -> None:
        if any("poison" in document.text for document in documents):
            raise ValueError
        _write(group, documents)

    monkeypatch.setattr(indexing, "_set_back", {})
    monkeypatch.setattr(index, "write_anew", write)
    for _ in range(2):
        indexing.index_what_is_new(limit=3)
    assert find("lighthouse") == ["c1"]


def test_messages_without_words_are_read_once(alice: User, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "MESSAGES_AT_ONCE", 2)
    conversation = build.conversation(alice, "c1")
    for _ in range(5):
        build.answer(build.question(conversation, "👍"), "…")
    build.answer(build.question(conversation, "lighthouse"), "harbour")
    build.exchange(build.conversation(alice, "c2"), "lighthouse")
    # 12 messages and 2, by twos; each conversation needs one more step to see that nothing is left
    assert indexing.index_what_is_new() == 9
    assert indexing.index_what_is_new() == 0
    assert set(find("lighthouse")) == {"c1", "c2"}


def test_an_answer_that_began_without_words_is_found_once_it_is_continued(alice: User, find: Find) -> None:
    conversation = build.conversation(alice, "c1")
    answer = build.answer(
        build.question(conversation, "where", outcome=Outcome.INTERRUPTED), "**", stop_reason="max_tokens"
    )
    build.exchange(conversation, "a question beside it")
    indexing.index_what_is_new()
    Message.objects.filter(pk=answer.pk).update(content=build.text("**The harbour**"), stop_reason="end_turn")
    touch(conversation)
    indexing.index_what_is_new()
    assert find("harbour") == ["c1"]


def test_long_messages_are_indexed_a_few_at_a_time(alice: User, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "CHARACTERS_AT_ONCE", 30)
    conversation = build.conversation(alice, "c1")
    for number in range(3):
        build.answer(
            build.question(conversation, f"question{number} of twenty"), f"answer{number} longer than all of them"
        )
    assert indexing.index_what_is_new() == 6
    for number in range(3):
        assert find(f"question{number}") == find(f"answer{number}") == ["c1"]


def test_a_long_conversation_leaves_time_for_others(alice: User, find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "MESSAGES_AT_ONCE", 2)
    monkeypatch.setattr(indexing, "MOST_OF_ONE", 2)
    build.long_conversation(alice, 10, "long")
    build.exchange(build.conversation(alice, "short"), "lighthouse")
    assert indexing.index_what_is_new(limit=3) == 3
    assert find("lighthouse") == ["short"]
    while indexing.index_what_is_new():
        pass
    assert not Conversation.objects.to_be_indexed().exists()


def test_looking_for_what_is_due_reads_an_index(alice: User) -> None:
    build.conversation(alice, "c1")
    due = indexing._due().order_by("updated_at").values_list("pk", flat=True)[:5]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")  # as with many rows
    plan = due.explain()
    assert "conversations_to_be_indexed" in plan, plan

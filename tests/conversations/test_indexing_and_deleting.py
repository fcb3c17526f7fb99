"""Indexing and deleting, also at once: no trace of a deleted conversation stays, and nothing is indexed twice."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.search import finding, index, lookup
from bedrock_chat.search.models import SearchDocument, SearchWord
from conversations import deleting
from conversations.models import Conversation
from conversations.search import hits, indexing
from tests import build
from tests.together import at_once
from tests.traces import anything_of

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]


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


# ---- Several at once ------------------------------------------------------------------------------------------------


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes indexing slow while it locks the conversation's row."""
    import time

    def write(*arguments: Any, _write: Any = index.write_anew) -> None:
        time.sleep(0.2)
        _write(*arguments)

    monkeypatch.setattr(index, "write_anew", write)
    yield
    monkeypatch.undo()


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_index_each_message_once(alice: User, slowly: None, find: Find) -> None:
    for number in range(4):
        build.exchange(build.conversation(alice, f"c{number}"), "lighthouse")
    done = at_once(indexing.index_what_is_new, indexing.index_what_is_new)
    assert sum(done) == 4
    assert SearchDocument.objects.count() == 8
    assert len(find("lighthouse")) == 4


@pytest.mark.django_db(transaction=True)
def test_a_deletion_while_it_is_indexed_leaves_nothing(alice: User, actor: Caller, slowly: None) -> None:
    import time

    build.exchange(build.conversation(alice, "c1"), "lighthouse")

    def delete() -> None:
        time.sleep(0.1)
        deleting.delete("c1", actor=actor)

    assert at_once(indexing.index_what_is_new, delete)[0] == 1
    assert not SearchDocument.objects.exists()
    assert not SearchWord.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_is_deleted_before_its_turn_comes_is_not_indexed(alice: User, actor: Caller, slowly: None) -> None:
    import time

    for number in range(3):
        build.exchange(build.conversation(alice, f"c{number}"), "lighthouse")

    def delete_all() -> None:
        time.sleep(0.1)
        deleting.delete_all(actor=actor)

    at_once(indexing.index_what_is_new, delete_all)
    assert not SearchDocument.objects.exists()
    assert not SearchWord.objects.exists()


# ---- Deletion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["one", "all"])
def test_what_is_deleted_leaves_nothing_behind(client_of: ClientOf, alice: User, how: str) -> None:
    """No text, title, index or vocabulary entry, in any table."""
    bob = local.local_user("bob")
    conversation = build.conversation(alice, "c1", title="secrettitle 秘密")
    build.answer(build.question(conversation, "secretquestion 内緒"), "secretanswer")
    build.exchange(build.conversation(bob, "his"), "innocent")
    indexing.index_what_is_new()
    client = client_of("alice")
    client.delete("/conversation/c1" if how == "one" else "/conversations")
    for word in ("secret", "秘密", "内緒"):
        assert [place for place in anything_of(word) if not place.startswith(lookup.INDEX)] == []
    for query in ("secrettitle", "secretqestion", "secret", "秘密"):
        assert finding.find(indexing.KIND, [f"user:{alice.pk}"], f"user:{alice.pk}", query).hits == []
    index.compact()
    assert anything_of("secret") == []
    assert [hit["id"] for hit in client_of("bob").get("/conversations/search?query=innocent").json()] == ["his"]


def test_many_are_deleted_a_few_at_a_time(alice: User, actor: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleting, "AT_A_TIME", 2)
    for number in range(5):
        build.exchange(build.conversation(alice, f"c{number}"), "lighthouse")
    indexing.index_what_is_new()
    assert list(deleting.delete_in_batches(Conversation.objects.visible_to(actor))) == [2, 4, 5]
    assert not Conversation.objects.exists()
    assert not SearchWord.objects.exists()


def test_deleting_costs_a_constant_number_of_statements_more(alice: User, actor: Caller) -> None:
    build.long_conversation(alice, 20, "c1")
    indexing.index_what_is_new()
    with CaptureQueriesContext(connection) as captured:
        deleting.delete("c1", actor=actor)
    of_search = [query["sql"] for query in captured.captured_queries if "bedrock_chat_search" in query["sql"]]
    assert len(of_search) == 4, of_search  # documents: read, then delete; words: count down, then delete those of none

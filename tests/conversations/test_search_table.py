"""Queries in six languages, and what they find: the same on every database."""

from collections.abc import Callable
from html import unescape

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from conversations.search import indexing
from tests import build
from tests.conversations.search_table import CONVERSATIONS, QUERIES

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    alice = client_of("alice")
    alice.get("/conversations")
    user = User.objects.get(username="alice")
    for conversation_id, (title, question, answer) in CONVERSATIONS.items():
        conversation = build.conversation(user, conversation_id, title=title)
        build.answer(build.question(conversation, question), answer)
    indexing.index_what_is_new()
    return alice


def test_every_query_finds_what_it_is_to_find(alice: APIClient) -> None:
    wrong = {}
    for query, expected in QUERIES.items():
        ids = [hit["id"] for hit in alice.get("/conversations/search", {"query": query}).json()]
        if ids[:1] != expected[:1] or set(ids) != set(expected):
            wrong[query] = ids
    assert wrong == {}


def test_every_hit_shows_where(alice: APIClient) -> None:
    """Each fragment is a part of the title or of a message, with something between `<em>` and `</em>`."""
    for query, expected in QUERIES.items():
        for hit in alice.get("/conversations/search", {"query": query}).json():
            title, *bodies = CONVERSATIONS[hit["id"]]
            assert hit["highlights"], (query, expected)
            for highlight in hit["highlights"]:
                texts = [title] if highlight["fieldName"] == "Title" else bodies
                for fragment in highlight["fragments"]:
                    assert "<em>" in fragment
                    plain = unescape(fragment.replace("<em>", "").replace("</em>", ""))
                    assert any(plain in text for text in texts), fragment

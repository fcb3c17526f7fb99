"""The list of conversations, page by page, and deleting several at once."""

import base64
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from bedrock_chat.blobs import storing
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.identity import local
from conversations.models import Conversation, Message
from tests import build

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]

IDS = ["Z", "a", "b/c", "é", "中", "🦄", "01", "02", "_"]
"""Conversation ids. By code point they are ordered differently than in a dictionary."""


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    client = client_of("alice")
    for external_id in IDS:
        build.conversation(local.local_user("alice"), external_id)
    build.conversation(local.local_user("bob"), "bobs")
    return client


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()]


def next_page(response: Any) -> dict[str, str] | None:
    """The query of the next page, from the response's `Link` header. None: this is the last page."""
    link = response.headers.get("Link")
    if link is None:
        return None
    address, relation = link.split("; ")
    assert relation == 'rel="next"'
    assert address.startswith(f"<{settings.PUBLIC_BASE_URL}/conversations?")
    return {name: value for name, [value] in parse_qs(urlsplit(address.strip("<>")).query).items()}


def pages(client: APIClient, **query: str) -> Iterator[list[str]]:
    following: dict[str, str] | None = query
    while following is not None:
        response = client.get("/conversations", following)
        yield ids(response)
        following = next_page(response)


def cursor(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


# ---- Pages ----------------------------------------------------------------------------------------------------------


def test_without_a_limit_the_list_is_whole_as_ever(alice: APIClient) -> None:
    response = alice.get("/conversations")
    assert ids(response) == sorted(IDS, reverse=True)
    assert "Link" not in response.headers


@pytest.mark.parametrize("limit", [1, 2, 4, 8, 9, 10, 1000])
def test_pages_make_the_list_whatever_their_size(alice: APIClient, limit: int) -> None:
    listed = list(pages(alice, limit=str(limit)))
    assert [name for page in listed for name in page] == sorted(IDS, reverse=True)
    assert [len(page) for page in listed[:-1]] == [limit] * (len(listed) - 1)
    assert 0 < len(listed[-1]) <= limit


def test_a_page_begins_behind_the_last_one_whatever_happened_meanwhile(alice: APIClient) -> None:
    following = next_page(alice.get("/conversations", {"limit": "3"}))
    Conversation.objects.filter(external_id__in=sorted(IDS, reverse=True)[:4]).delete()
    build.conversation(local.local_user("alice"), "🦄🦄")
    assert ids(alice.get("/conversations", following)) == sorted(IDS, reverse=True)[4:7]


def test_a_cursor_without_a_limit_gives_the_rest(alice: APIClient) -> None:
    following = next_page(alice.get("/conversations", {"limit": "2"}))
    assert following is not None
    assert ids(alice.get("/conversations", {"cursor": following["cursor"]})) == sorted(IDS, reverse=True)[2:]


def test_nobody_sees_more_by_somebody_elses_cursor(alice: APIClient, client_of: ClientOf) -> None:
    following = next_page(alice.get("/conversations", {"limit": "1"}))
    assert ids(client_of("bob").get("/conversations", following)) == ["bobs"]
    assert ids(client_of("carol", "Admin").get("/conversations", following)) == []


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "", " 1", "1.0", "1e3", "ten", "٣", "²", "9" * 5000, "null"])
def test_a_limit_is_a_number_from_1_to_1000(alice: APIClient, limit: str) -> None:
    response = alice.get("/conversations", {"limit": limit})
    assert response.status_code == 400
    assert response.json()["errors"][0].startswith("limit: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "MQ",
        "=",
        "ä",
        "🦄",
        "a b",
        "!!!!",
        cursor(b"Z"),
        cursor(b"after:"),
        cursor(b"after:\xff"),
        cursor(b"after:a\0b"),
        "A" * 100_000,
    ],
)
def test_what_is_no_cursor_is_refused(alice: APIClient, text: str) -> None:
    response = alice.get("/conversations", {"cursor": text, "limit": "1"})
    assert response.status_code == 400
    assert response.json()["errors"][0].startswith("cursor: ")


# ---- Deleting several -----------------------------------------------------------------------------------------------


def delete(client: APIClient, external_ids: Any) -> Any:
    return client.post("/conversations/bulk-delete", {"conversationIds": external_ids}, format="json")


def test_those_that_are_there_are_deleted_and_the_others_told(alice: APIClient, client_of: ClientOf) -> None:
    response = delete(alice, ["Z", "nowhere", "a", "Z", "bobs", "b/c", "nowhere"])
    assert response.status_code == 200
    assert response.json() == {"deletedCount": 3, "failedIds": ["nowhere", "bobs"]}
    assert ids(alice.get("/conversations")) == sorted(set(IDS) - {"Z", "a", "b/c"}, reverse=True)
    assert ids(client_of("bob").get("/conversations")) == ["bobs"]
    assert delete(client_of("carol", "Admin"), ["bobs"]).json() == {"deletedCount": 0, "failedIds": ["bobs"]}


def test_messages_documents_and_references_leave_too(alice: APIClient) -> None:
    sha256 = storing.digest(b"file")
    storing.store({sha256: b"file"})
    for name in ("Z", "a"):
        conversation = Conversation.objects.get(external_id=name)
        build.related_document(build.exchange(conversation, "hello"), "t@0")
        storing.refer("conversation", conversation.pk, [sha256])
    delete(alice, ["Z"])
    kept = Conversation.objects.get(external_id="a")
    assert set(Message.objects.values_list("conversation", flat=True)) == {kept.pk}
    assert set(BlobReference.objects.values_list("owner_id", flat=True)) == {kept.pk}
    assert [row.answer.conversation_id for row in kept.related_documents.all()] == [kept.pk]


@pytest.mark.parametrize(
    "external_ids",
    [[], None, "Z", {}, [5], [None], [""], ["x" * 257], ["Z"] * 101, [["Z"]]],
)
def test_1_to_100_ids_are_named(alice: APIClient, external_ids: Any) -> None:
    response = delete(alice, external_ids)
    assert response.status_code == 400
    assert response.json()["errors"][0].startswith("conversationIds")
    assert len(ids(alice.get("/conversations"))) == len(IDS)


def test_a_hundred_are_deleted_at_once(alice: APIClient) -> None:
    user = local.local_user("alice")
    for number in range(91):
        build.conversation(user, f"many-{number}")
    everything = ids(alice.get("/conversations"))
    assert delete(alice, everything).json() == {"deletedCount": 100, "failedIds": []}
    assert ids(alice.get("/conversations")) == []

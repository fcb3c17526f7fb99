"""Who may do what with a publication and its keys, and which key reaches which publication."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from publication.models import ApiKey, Gate, Publication, TurnRequest
from tests.bots.bot import body, make, share
from tests.publication.api import UNLIMITED, Api, limits, publish, question, stored, work

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "owner": ("dave", ("CreatingBotAllowed", "PublishAllowed")),
    "owner who may not publish": ("dave", ("CreatingBotAllowed",)),
    "admin": ("carol", ("Admin",)),
    "another publisher": ("bob", ("CreatingBotAllowed", "PublishAllowed")),
    "user": ("alice", ()),
}
CHANGED = (Publication, ApiKey, Gate, AuditEntry)
"""What a request may change."""
BOT = "/bot/helper/publication"
KEY = f"{BOT}/api-key/KEY"

TABLE: dict[tuple[str, str], tuple[Any, tuple[int, ...]]] = {
    ("POST", "/bot/other/publication"): (UNLIMITED, (200, 403, 403, 403, 403)),
    ("GET", BOT): (None, (200, 403, 200, 403, 403)),
    ("PATCH", BOT): ({"stage": "dev"}, (200, 403, 200, 403, 403)),
    ("DELETE", BOT): (None, (200, 403, 200, 403, 403)),
    ("GET", f"{BOT}/api-key"): (None, (200, 403, 200, 403, 403)),
    ("POST", f"{BOT}/api-key"): ({"description": "k"}, (200, 403, 403, 403, 403)),
    ("GET", KEY): (None, (200, 403, 200, 403, 403)),
    ("PATCH", KEY): ({"description": "new"}, (200, 403, 200, 403, 403)),
    ("DELETE", KEY): (None, (200, 403, 200, 403, 403)),
    ("POST", f"{KEY}/rotate"): ({"overlapHours": 1}, (200, 403, 200, 403, 403)),
    ("POST", f"{KEY}/top-up"): ({"requests": 1}, (403, 403, 200, 403, 403)),
    ("GET", "/admin/published-bots"): (None, (403, 403, 200, 403, 403)),
}
"""Route → a body, and the status for each of PEOPLE."""


@pytest.fixture
def limited(dave: APIClient, emulator: Any) -> str:
    """Dave's bot `helper`, published with a quota, and `other`, which is not. Returns the id of the key."""
    for name in ("helper", "other"):
        make(dave, name)
        share(dave, name, "all")
    publish(dave, "helper", limits(quota=10))
    return ApiKey.objects.get().pk


@pytest.mark.parametrize("person", PEOPLE)
def test_a_person_gets_what_the_table_says(limited: str, client_of: Callable[..., APIClient], person: str) -> None:
    name, groups = PEOPLE[person]
    client = client_of(name, *groups)
    client.get("/bot")
    order = sorted(TABLE, key=lambda route: route[0] == "DELETE")  # what is deleted cannot be changed
    for method, path in sorted(order, key=lambda route: route == ("DELETE", BOT)):
        sent, statuses = TABLE[method, path]
        status, before = statuses[list(PEOPLE).index(person)], stored(*CHANGED)
        answer = client.generic(method, path.replace("KEY", limited), *_as_json(sent))
        assert answer.status_code == status, (method, path, answer.content)
        if status != 200:
            assert stored(*CHANGED) == before, (method, path)


def _as_json(sent: Any) -> tuple[Any, ...]:
    return () if sent is None else (json.dumps(sent), "application/json")


@pytest.mark.parametrize("path", ["/health", "/conversation/c/m", "/conversation/c", "/v1/models"])
def test_a_key_reaches_its_own_publication_alone(api: Api, bob: APIClient, path: str) -> None:
    make(bob, "elsewhere")
    share(bob, "elsewhere", "all")
    other = publish(bob, "elsewhere")
    assert api.get(path).status_code in (200, 404)
    assert other.get(path).status_code in (200, 404)
    assert api.get(path, key=other.key).status_code == 403
    assert other.get(path, key=api.key).status_code == 403
    assert api.post(question(), key=other.key).status_code == 403
    assert TurnRequest.objects.count() == 0


def test_a_conversation_is_its_publications_alone(api: Api, bob: APIClient) -> None:
    make(bob, "elsewhere")
    share(bob, "elsewhere", "all")
    other = publish(bob, "elsewhere")
    conversation, message = api.ask()
    work()
    assert api.answer(conversation, message).status_code == 200
    assert other.answer(conversation, message).status_code == 404
    assert other.get(f"/conversation/{conversation}").status_code == 404
    assert other.ask("mine", conversationId=conversation)[0] == conversation  # one of the same name, of its own
    work()
    assert len(body(other.get(f"/conversation/{conversation}"))["messageMap"]) == 3
    assert len(body(api.get(f"/conversation/{conversation}"))["messageMap"]) == 3


def test_a_token_opens_no_published_api_and_a_key_nothing_else(api: Api, dave: APIClient) -> None:
    assert dave.get(f"{api.path}/health").status_code == 403
    for path in ("/conversations", "/bot", "/bot/helper/publication", "/user/search?prefix=a"):
        assert APIClient().get(path, HTTP_X_API_KEY=api.key).status_code == 401

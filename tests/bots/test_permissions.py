"""Who may do what with a bot: every route, every kind of person, every scope, and the status they get.

The queries behind it are tried on both databases by test_access.py.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import get_resolver

from bedrock_chat.identity import local
from bedrock_chat.identity.caller import CREATING_BOT_ALLOWED, Caller
from bedrock_chat.identity.models import User
from bots import editing, sharing
from bots.knowledge.models import Knowledge
from bots.models import Bot, BotAlias, BotFile, BotGrant, Scope
from tests.bots import upload
from tests.bots.bot import document, payload
from tests.people import auth
from tests.test_permissions import routes

pytestmark = pytest.mark.django_db

PEOPLE = {
    "owner": ("alice", "CreatingBotAllowed"),
    "owner without groups": ("alice",),
    "shared by user": ("bob",),
    "shared by group": ("dan", "sales"),
    "stranger": ("eve", "CreatingBotAllowed", "PublishAllowed"),
    "nobody's groups": ("frank",),
    "admin": ("carol", "Admin"),
    "suspended": ("mallory", "Admin", "sales"),
}
"""Name → whose token, and with which groups."""

EVERYBODY = frozenset(PEOPLE) - {"suspended"}
ADMIN = frozenset({"admin"})
OWNER = frozenset({"owner", "owner without groups"})
EDITORS = OWNER | ADMIN
SHARED = {
    "own": EDITORS,
    "partial": EDITORS | {"shared by user", "shared by group"},
    "all": EVERYBODY,
}
"""Alice's bots, of the scopes `private`, `partial` and `all` → who may use them."""

USERS = "users"
"""Whoever may use the bot: that depends on the bot."""

PIN, UNPIN = {"toPinned": True, "order": 1}, {"toPinned": False}

TABLE: dict[str, tuple[Any, frozenset[str] | str]] = {
    "GET bot": (None, EVERYBODY),
    "POST bot": (payload("fresh"), frozenset({"owner", "stranger", "admin"})),
    "POST bot/import": (document(), frozenset({"owner", "stranger", "admin"})),
    "GET bot/pinned": (None, EVERYBODY),
    "GET bot/private/<str:bot_id>": (None, OWNER),
    "GET bot/summary/<str:bot_id>": (None, USERS),
    "PATCH bot/<str:bot_id>": ({"title": "New"}, EDITORS),
    "DELETE bot/<str:bot_id>": (None, EDITORS),
    "PATCH bot/<str:bot_id>/visibility": ({"targetSharedScope": "all"}, EDITORS),
    "PATCH bot/<str:bot_id>/starred": ({"starred": True}, USERS),
    "DELETE bot/<str:bot_id>/recently-used": (None, USERS),
    "GET bot/<str:bot_id>/agent/available-tools": (None, EVERYBODY),
    "GET bot/<str:bot_id>/presigned-url": (None, EDITORS),
    "DELETE bot/<str:bot_id>/uploaded-file": (None, EDITORS),
    "DELETE bot/<str:bot_id>/files/<str:digest>": (None, EDITORS),
    "POST bot/<str:bot_id>/clone": ({}, frozenset({"owner", "admin"})),
    "GET bot/<str:bot_id>/export": (None, EDITORS),
    "GET bot/<str:bot_id>/usage": (None, EDITORS),
    "GET bot/<str:bot_id>/knowledge": (None, EDITORS),
    "GET bot/<str:bot_id>/knowledge/documents": (None, EDITORS),
    "POST bot/<str:bot_id>/knowledge/sync": ({}, EDITORS),
    "POST bot/<str:bot_id>/knowledge/cancel": (None, EDITORS),
    "POST bot/<str:bot_id>/knowledge/search": ({"query": "leave"}, EDITORS),
    "GET bot/<str:bot_id>/versions": (None, EDITORS),
    "GET bot/<str:bot_id>/versions/<int:version>": (None, EDITORS),
    "POST bot/<str:bot_id>/versions/<int:version>/restore": (None, EDITORS),
    "GET admin/bot/public/<str:bot_id>": (None, ADMIN),
    "PATCH admin/bot/<str:bot_id>/pushed": (PIN, ADMIN),
}
"""Route → a body, and who is let in. All others are refused with 403."""

OF_NO_BOT = {
    "GET bot",
    "POST bot",
    "POST bot/import",
    "GET bot/pinned",
    "GET bot/<str:bot_id>/agent/available-tools",
    "GET bot/<str:bot_id>/presigned-url",
    "DELETE bot/<str:bot_id>/uploaded-file",
}
"""Routes that name no bot, do not look at it, or are asked before there is one."""

FILE = b"What Alice knows."
QUERY = "?filename=a.txt&contentType=text/plain"

CLIENT = Client()
"""Used by all tests here: each client loads the middleware, which takes ten times as long as a request."""


def address(route: str, bot_id: str) -> str:
    path = route.split(" ", maxsplit=1)[1].replace("<str:bot_id>", bot_id).replace("<int:version>", "1")
    path = path.replace("<str:digest>", upload.digest(FILE))
    return f"/{path}{QUERY if path.endswith(('presigned-url', 'uploaded-file')) else ''}"


def status_of(route: str, bot_id: str, headers: dict[str, str]) -> int:
    sent = TABLE[route][0]
    content = [json.dumps(sent), "application/json"] if sent is not None else []
    return CLIENT.generic(route.split(" ", maxsplit=1)[0], address(route, bot_id), *content, **headers).status_code


@contextmanager
def undone() -> Iterator[None]:
    """Whatever is written inside is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def rows() -> tuple[Any, ...]:
    """All that a refused request could have changed."""
    return tuple(list(model.objects.order_by("pk").values()) for model in (Bot, BotAlias, BotGrant, BotFile, Knowledge))


@pytest.fixture(autouse=True)
def bots() -> None:
    """Alice's bots `own`, which is private, `partial` and `all`, each with a file."""
    alice = Caller(user_id=local.local_user("alice").pk, groups=frozenset({CREATING_BOT_ALLOWED}))
    for bot_id in ("own", "partial", "all"):
        upload.wait(local.local_user("alice").pk, bot_id, "a.txt", FILE)
        knowledge = {"filenames": ["a.txt"]}
        editing.create(bot_id, {"title": "t", "instruction": "i", "knowledge": knowledge}, actor=alice)
    sharing.share("partial", Scope.PARTIAL, [local.local_user("bob").pk], ["sales"], actor=alice)
    sharing.share("all", Scope.ALL, actor=alice)
    local.local_user("mallory")
    User.objects.filter(username="mallory").update(is_active=False)


def test_every_route_of_bots_stands_in_the_table() -> None:
    of_bots = {
        route for route in routes(get_resolver().url_patterns) if route.split(" ")[-1].startswith(("bot", "admin/bot/"))
    }
    assert {route for route in of_bots if "/publication" not in route} == set(TABLE)


@pytest.mark.parametrize("bot_id", list(SHARED))
def test_a_person_gets_what_the_table_says(bot_id: str) -> None:
    wrong = {}
    for person, (name, *groups) in PEOPLE.items():
        headers = auth(name, *groups)
        before = rows()
        for route, (_, allowed) in TABLE.items():
            expected = 200 if person in (SHARED[bot_id] if allowed == USERS else allowed) else 403
            if route == "PATCH admin/bot/<str:bot_id>/pushed" and bot_id != "all" and expected == 200:
                expected = 400  # such a bot is not pinned
            with undone():
                status = status_of(route, bot_id, headers)
                if status != expected:
                    wrong[person, route] = (status, expected)
                if status != 200:
                    assert rows() == before
    assert wrong == {}


def test_an_id_that_there_is_not_is_told_apart_from_one_of_somebody_else_but_by_admins_routes() -> None:
    wrong = {}
    for person, (name, *groups) in PEOPLE.items():
        headers = auth(name, *groups)
        for route in TABLE.keys() - OF_NO_BOT:
            is_refused = person == "suspended" or ("admin/" in route and person != "admin")
            status = status_of(route, "nope", headers)
            if status != (403 if is_refused else 404):
                wrong[person, route] = status
    assert wrong == {}


@pytest.mark.parametrize("header", [{}, {"HTTP_AUTHORIZATION": "Bearer x.y.z"}, {"HTTP_AUTHORIZATION": "Basic YTpi"}])
def test_without_a_token_nothing_is_told(header: dict[str, str]) -> None:
    before = rows()
    for route in TABLE:
        assert status_of(route, "all", header) == 401
    assert rows() == before


def test_a_suspension_takes_effect_at_once() -> None:
    headers = auth("alice", "CreatingBotAllowed")
    assert status_of("GET bot/private/<str:bot_id>", "own", headers) == 200
    User.objects.filter(username="alice").update(is_active=False)
    for route in TABLE:
        assert status_of(route, "own", headers) == 403

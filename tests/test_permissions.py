"""Who may do what: every route of the server, every kind of person, and the status they get."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from bedrock_chat.identity import local
from bedrock_chat.identity.caller import CREATING_BOT_ALLOWED, Caller
from bedrock_chat.identity.models import User
from bots import editing
from tests import build
from tests.bots import bot as bots
from tests.contract.tokens import forged, known_key
from tests.conversations.chat import payload
from tests.people import auth
from tests.publication.api import UNLIMITED

PEOPLE = ("owner", "stranger", "admin", "suspended", "nobody", "forger")
"""Alice, the owner; Bob; Carol of the group Admin; Mallory, suspended; no token; a token for another audience."""

OPEN = (200,) * 6
OWN = (200, 404, 404, 403, 401, 401)
EVERYBODYS_OWN = (200, 200, 200, 403, 401, 401)

FOR_CREATORS = FOR_ADMIN = (403, 403, 200, 403, 401, 401)

CONTINUE = {**payload("c1", [], continue_generate=True)}
"""A turn that is refused since the answer is complete. Only the owner learns why (400)."""

BOTS_OWN = (200, 403, 403, 403, 401, 401)
BOTS_EDITORS = (200, 403, 200, 403, 401, 401)
PIN = (403, 403, 400, 403, 401, 401)
"""Of a private bot, which is not pinned. Only Admin learns why."""

NOTHING_TO_READ = (400, 403, 400, 403, 401, 401)
"""Of a bot without files and addresses. Only who may edit it learns that."""

UPLOAD = "filename=a.txt"
NOT_PUBLISHED = (403, 403, 400, 403, 401, 401)
"""Of a bot that is not published. Only who may publish learns it: tests/publication/test_permissions.py."""
NO_KEY = (403,) * 6
"""Of a published API: a token opens nothing there."""

KEY = "/bot/b1/publication/api-key/k1"
API = "/published/b1/api"

TABLE: dict[str, tuple[str, Any, tuple[int, ...]]] = {
    "GET health": ("/health", None, OPEN),
    "GET ready": ("/ready", None, OPEN),
    "GET config/global": ("/config/global", None, OPEN),
    "GET budget": ("/budget", None, EVERYBODYS_OWN),
    "GET schema": ("/schema", None, OPEN),
    "GET docs": ("/docs", None, OPEN),
    "GET docs/redoc": ("/docs/redoc", None, OPEN),
    "chat": ("/chat", None, OPEN),
    # The signature in the address is the permission, whoever holds it: tests/blobs/test_links.py.
    "GET blobs/<str:sha256>": ("/blobs/0", None, (403,) * 6),
    # So it is in an address to upload to: tests/blobs/test_uploads.py.
    "PUT uploads": ("/uploads?token=0", None, (403,) * 6),
    "GET .well-known/jwks.json": ("/.well-known/jwks.json", None, OPEN),
    "POST conversation": ("/conversation", CONTINUE, (400, 404, 404, 403, 401, 401)),
    "GET conversations": ("/conversations", None, EVERYBODYS_OWN),
    "DELETE conversations": ("/conversations", None, EVERYBODYS_OWN),
    "GET conversations/search": ("/conversations/search?query=hello", None, EVERYBODYS_OWN),
    "GET conversation/<path:conversation_id>": ("/conversation/c1", None, OWN),
    "DELETE conversation/<path:conversation_id>": ("/conversation/c1", None, OWN),
    "GET conversation/<path:conversation_id>/<str:message_id>/stream": ("/conversation/c1/q1/stream", None, OWN),
    "POST conversation/<path:conversation_id>/<str:message_id>/stop": ("/conversation/c1/q1/stop", None, OWN),
    "POST conversations/bulk-delete": ("/conversations/bulk-delete", {"conversationIds": ["c1"]}, EVERYBODYS_OWN),
    "PUT conversation/<path:conversation_id>/<str:message_id>/feedback": (
        "/conversation/c1/q1/feedback",
        {"thumbsUp": True},
        OWN,
    ),
    "GET conversation/<shortest:conversation_id>/related-documents": ("/conversation/c1/related-documents", None, OWN),
    "GET conversation/<shortest:conversation_id>/related-documents/<path:source_id>": (
        "/conversation/c1/related-documents/t@0",
        None,
        OWN,
    ),
    "PATCH conversation/<path:conversation_id>/title": ("/conversation/c1/title", {"newTitle": "New"}, OWN),
    "GET conversation/<path:conversation_id>/proposed-title": ("/conversation/empty/proposed-title", None, OWN),
    # Alice's bot is private. tests/bots/test_permissions.py has those with whom one is shared.
    "GET bot": ("/bot", None, EVERYBODYS_OWN),
    "POST bot": ("/bot", bots.payload("b2"), (403, 403, 200, 403, 401, 401)),
    "POST bot/import": ("/bot/import", bots.document(), (403, 403, 200, 403, 401, 401)),
    "GET bot/pinned": ("/bot/pinned", None, EVERYBODYS_OWN),
    # Who finds what there: tests/store.
    "GET store/search": ("/store/search?query=hello", None, EVERYBODYS_OWN),
    "GET store/popular": ("/store/popular", None, EVERYBODYS_OWN),
    "GET store/pickup": ("/store/pickup", None, EVERYBODYS_OWN),
    "GET bot/private/<str:bot_id>": ("/bot/private/b1", None, BOTS_OWN),
    "GET bot/summary/<str:bot_id>": ("/bot/summary/b1", None, BOTS_EDITORS),
    "PATCH bot/<str:bot_id>": ("/bot/b1", {"title": "New"}, BOTS_EDITORS),
    "DELETE bot/<str:bot_id>": ("/bot/b1", None, BOTS_EDITORS),
    "PATCH bot/<str:bot_id>/visibility": ("/bot/b1/visibility", {"targetSharedScope": "all"}, BOTS_EDITORS),
    "PATCH bot/<str:bot_id>/starred": ("/bot/b1/starred", {"starred": True}, BOTS_EDITORS),
    "DELETE bot/<str:bot_id>/recently-used": ("/bot/b1/recently-used", None, BOTS_EDITORS),
    "GET bot/<str:bot_id>/agent/available-tools": ("/bot/b1/agent/available-tools", None, EVERYBODYS_OWN),
    "GET bot/<str:bot_id>/presigned-url": (f"/bot/b1/presigned-url?{UPLOAD}&contentType=", None, BOTS_EDITORS),
    "DELETE bot/<str:bot_id>/uploaded-file": (f"/bot/b1/uploaded-file?{UPLOAD}", None, BOTS_EDITORS),
    "DELETE bot/<str:bot_id>/files/<str:digest>": ("/bot/b1/files/0", None, (404, 403, 404, 403, 401, 401)),
    # The token of this Alice has no group.
    "POST bot/<str:bot_id>/clone": ("/bot/b1/clone", {}, (403, 403, 200, 403, 401, 401)),
    "GET bot/<str:bot_id>/export": ("/bot/b1/export", None, BOTS_EDITORS),
    "GET bot/<str:bot_id>/versions": ("/bot/b1/versions", None, BOTS_EDITORS),
    "GET bot/<str:bot_id>/versions/<int:version>": ("/bot/b1/versions/1", None, BOTS_EDITORS),
    "POST bot/<str:bot_id>/versions/<int:version>/restore": ("/bot/b1/versions/1/restore", None, BOTS_EDITORS),
    "GET admin/bot/public/<str:bot_id>": ("/admin/bot/public/b1", None, (403, 403, 200, 403, 401, 401)),
    "GET admin/public-bots": ("/admin/public-bots", None, FOR_ADMIN),
    "GET admin/users": ("/admin/users", None, FOR_ADMIN),
    "GET bot/<str:bot_id>/usage": ("/bot/b1/usage", None, BOTS_EDITORS),
    "GET bot/<str:bot_id>/knowledge": ("/bot/b1/knowledge", None, BOTS_EDITORS),
    "GET bot/<str:bot_id>/knowledge/documents": ("/bot/b1/knowledge/documents", None, BOTS_EDITORS),
    "POST bot/<str:bot_id>/knowledge/sync": ("/bot/b1/knowledge/sync", {}, NOTHING_TO_READ),
    "POST bot/<str:bot_id>/knowledge/cancel": ("/bot/b1/knowledge/cancel", None, BOTS_EDITORS),
    "POST bot/<str:bot_id>/knowledge/search": ("/bot/b1/knowledge/search", {"query": "leave"}, BOTS_EDITORS),
    "PATCH admin/bot/<str:bot_id>/pushed": ("/admin/bot/b1/pushed", {"toPinned": True, "order": 1}, PIN),
    "GET user/search": ("/user/search?prefix=al", None, FOR_CREATORS),
    "GET user/group/search": ("/user/group/search?prefix=al", None, FOR_CREATORS),
    # Who may learn of whom: tests/bots/test_people.py.
    "GET user/<str:user_id>": ("/user/somebody", None, (404, 404, 404, 403, 401, 401)),
    "POST bot/<str:bot_id>/publication": ("/bot/b1/publication", UNLIMITED, (403, 403, 403, 403, 401, 401)),
    "GET bot/<str:bot_id>/publication": ("/bot/b1/publication", None, NOT_PUBLISHED),
    "PATCH bot/<str:bot_id>/publication": ("/bot/b1/publication", {"stage": "dev"}, NOT_PUBLISHED),
    "DELETE bot/<str:bot_id>/publication": ("/bot/b1/publication", None, NOT_PUBLISHED),
    "GET bot/<str:bot_id>/publication/api-key": ("/bot/b1/publication/api-key", None, NOT_PUBLISHED),
    "POST bot/<str:bot_id>/publication/api-key": ("/bot/b1/publication/api-key", {"description": "k"}, NOT_PUBLISHED),
    "GET bot/<str:bot_id>/publication/api-key/<str:api_key_id>": (KEY, None, NOT_PUBLISHED),
    "PATCH bot/<str:bot_id>/publication/api-key/<str:api_key_id>": (KEY, {"enabled": False}, NOT_PUBLISHED),
    "DELETE bot/<str:bot_id>/publication/api-key/<str:api_key_id>": (KEY, None, NOT_PUBLISHED),
    "POST bot/<str:bot_id>/publication/api-key/<str:api_key_id>/rotate": (f"{KEY}/rotate", {}, NOT_PUBLISHED),
    "POST bot/<str:bot_id>/publication/api-key/<str:api_key_id>/top-up": (
        f"{KEY}/top-up",
        {"requests": 1},
        NOT_PUBLISHED,
    ),
    "GET admin/published-bots": ("/admin/published-bots", None, (403, 403, 200, 403, 401, 401)),
    "POST published/<str:bot_id>/<str:stage>/conversation": (f"{API}/conversation", {}, NO_KEY),
    "GET published/<str:bot_id>/<str:stage>/conversation/<str:conversation_id>": (
        f"{API}/conversation/c1",
        None,
        NO_KEY,
    ),
    "GET published/<str:bot_id>/<str:stage>/conversation/<str:conversation_id>/<str:message_id>": (
        f"{API}/conversation/c1/q1",
        None,
        NO_KEY,
    ),
    "POST published/<str:bot_id>/<str:stage>/v1/chat/completions": (f"{API}/v1/chat/completions", {}, NO_KEY),
    "GET published/<str:bot_id>/<str:stage>/v1/models": (f"{API}/v1/models", None, NO_KEY),
    "GET published/<str:bot_id>/<str:stage>/conversation/<str:conversation_id>/<str:message_id>/stream": (
        f"{API}/conversation/c1/q1/stream",
        None,
        NO_KEY,
    ),
    "POST published/<str:bot_id>/<str:stage>/conversation/<str:conversation_id>/<str:message_id>/stop": (
        f"{API}/conversation/c1/q1/stop",
        None,
        NO_KEY,
    ),
    "GET published/<str:bot_id>/<str:stage>/health": (f"{API}/health", None, NO_KEY),
    # It needs no key, and there is no such API: tests/publication/test_documentation.py.
    "GET published/<str:bot_id>/<str:stage>/openapi.json": (f"{API}/openapi.json", None, NO_KEY),
    "GET published/<str:bot_id>/<str:stage>/docs": (f"{API}/docs", None, NO_KEY),
}
"""Route → an address of Alice's, a body, and the status for each of PEOPLE."""

CONSOLE = "console/"
ELSEWHERE = ""
"""The pattern of every path that has no route."""


def routes(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    """`METHOD pattern` of every route; the console, which is Django's admin, is one."""
    for pattern in patterns:
        name = prefix + str(pattern.pattern)
        if name == CONSOLE:
            yield CONSOLE
        elif isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, name)
        elif isinstance(pattern, URLPattern):
            view: Any = pattern.callback
            shown = getattr(view, "cls", None) or getattr(view, "view_class", None)
            if shown is None:
                yield name
                continue
            actions = getattr(view, "actions", None)
            for method in ("get", "post", "put", "patch", "delete"):
                if method in actions if actions else hasattr(shown, method):
                    yield f"{method.upper()} {name}"


HEADERS: dict[str, Callable[[], dict[str, str]]] = {
    "owner": lambda: auth("alice"),
    "stranger": lambda: auth("bob"),
    "admin": lambda: auth("carol", "Admin"),
    "suspended": lambda: auth("mallory", "Admin"),
    "nobody": dict,
    "forger": lambda: {"HTTP_AUTHORIZATION": f"Bearer {forged('alice', aud='somebody-else')}"},
}


@pytest.fixture
def headers_of(db: None) -> Callable[[str], dict[str, str]]:
    """The Authorization header of a person. Alice has two conversations, of which one is empty, and a private bot."""
    known_key()
    alice = local.local_user("alice")
    question = build.question(build.conversation(alice, "c1"), "hello", external_id="q1")
    build.related_document(build.answer(question, "Echo: hello"), "t@0")
    build.conversation(alice, "empty")
    maker = Caller(user_id=alice.pk, groups=frozenset({CREATING_BOT_ALLOWED}))
    editing.create("b1", {"title": "A bot", "instruction": "Be kind."}, actor=maker)
    local.local_user("mallory")
    User.objects.filter(username="mallory").update(is_active=False)
    return lambda person: HEADERS[person]()


def rows() -> Iterator[Any]:
    for route in TABLE:
        # A request that gets that far releases the database connection, which fails inside a test's transaction.
        is_own = route.endswith("proposed-title")
        yield pytest.param(route, marks=[pytest.mark.django_db(transaction=True)] if is_own else [])


@contextmanager
def undone() -> Iterator[None]:
    """What a request writes is taken back at the end, so that each person finds what the first one has found.

    In a test that commits it stays; there it must not matter.
    """
    if not connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_every_route_stands_in_the_table() -> None:
    known = set(routes(get_resolver().url_patterns))
    assert known == {*TABLE, CONSOLE, ELSEWHERE}


@pytest.mark.parametrize("route", list(rows()))
def test_people_get_what_the_table_says(headers_of: Callable[[str], dict[str, str]], route: str) -> None:
    path, body, statuses = TABLE[route]
    method = route.split(" ", maxsplit=1)[0] if " " in route else "GET"
    sent = [json.dumps(body), "application/json"] if body is not None else []
    answers = {}
    for person in PEOPLE:
        with undone():
            answers[person] = Client().generic(method, path, *sent, **headers_of(person))
    assert {person: answer.status_code for person, answer in answers.items()} == dict(
        zip(PEOPLE, statuses, strict=True)
    ), [answer.getvalue()[:500] for answer in answers.values()]


@pytest.mark.parametrize("person", PEOPLE)
def test_a_path_of_no_route_is_a_404_for_everybody(headers_of: Callable[[str], dict[str, str]], person: str) -> None:
    assert Client().get("/bots/of/nobody", **headers_of(person)).status_code == 404


@pytest.mark.parametrize("person", PEOPLE)
def test_tokens_do_not_open_the_console(headers_of: Callable[[str], dict[str, str]], person: str) -> None:
    response = Client().get("/console/", **headers_of(person))
    assert (response.status_code, response.headers["Location"]) == (302, "/console/login/?next=/console/")


def test_what_a_stranger_may_not_do_changes_nothing(headers_of: Callable[[str], dict[str, str]]) -> None:
    before = Client().get("/conversation/c1", **headers_of("owner")).json()
    body = json.dumps({"newTitle": "Mine", "thumbsUp": True, "conversationIds": ["c1"]})
    for path, method in (
        ("/conversation/c1", "DELETE"),
        ("/conversation/c1/title", "PATCH"),
        ("/conversation/c1/q1/feedback", "PUT"),
        ("/conversations", "DELETE"),
        ("/conversations/bulk-delete", "POST"),
    ):
        Client().generic(method, path, body, "application/json", **headers_of("stranger"))
    assert Client().get("/conversation/c1", **headers_of("owner")).json() == before

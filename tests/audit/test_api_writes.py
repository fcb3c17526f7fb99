"""Every write of the API on bots, publications and keys leaves an entry; which ones need none is said here."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from bedrock_chat.audit import verbs
from bedrock_chat.audit.models import ActorKind, AuditEntry
from bedrock_chat.identity import local
from tests.bots.bot import KNOWLEDGE, document, payload
from tests.encryption.vault import new_key
from tests.publication.api import UNLIMITED

pytestmark = [pytest.mark.both, pytest.mark.django_db]
BOT, API = "bot/<str:bot_id>", "bot/<str:bot_id>/publication"
KEY = f"{API}/api-key/<str:api_key_id>"

RECORDED = {
    "POST bot": ("bot", "create"),
    "POST bot/import": ("bot", "import"),
    f"PATCH {BOT}": ("bot", "edit"),
    f"DELETE {BOT}": ("bot", "delete"),
    f"PATCH {BOT}/visibility": ("bot", "share"),
    f"POST {BOT}/clone": ("bot", "clone"),
    f"POST {BOT}/versions/<int:version>/restore": ("bot", "restore"),
    f"DELETE {BOT}/files/<str:digest>": ("bot", "remove file"),
    f"POST {BOT}/knowledge/sync": ("bot", "sync knowledge"),
    f"POST {BOT}/knowledge/cancel": ("bot", "cancel sync"),
    "PATCH admin/bot/<str:bot_id>/pushed": ("bot", "pin"),
    f"POST {API}": ("bot", "publish"),
    f"PATCH {API}": ("bot", "change publication"),
    f"DELETE {API}": ("bot", "withdraw"),
    f"POST {API}/api-key": ("api key", "create"),
    f"PATCH {KEY}": ("api key", "change"),
    f"DELETE {KEY}": ("api key", "revoke"),
    f"POST {KEY}/rotate": ("api key", "rotate"),
    f"POST {KEY}/top-up": ("api key", "top up"),
}
"""Route → the verb of its entry."""

UNRECORDED = {
    f"PATCH {BOT}/starred": "one's own star, which is no change of the bot",
    f"DELETE {BOT}/recently-used": "one's own list",
    f"DELETE {BOT}/uploaded-file": "a file that waits; what an edit makes of it is recorded",
    "PUT uploads": "the same",
    f"POST {BOT}/knowledge/search": "a question, which is in the ledger",
}
CONTENTS = ("conversation", "published/")
"""What people ask and read is no business of the audit."""


def writes(resolver: URLResolver, before: str = "") -> Iterator[str]:
    """Each route that writes, with its method."""
    for entry in resolver.url_patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLPattern):
            methods = set(getattr(entry.callback, "actions", {})) & {"post", "put", "patch", "delete"}
            yield from (f"{method.upper()} {route}" for method in methods)
        elif not route.startswith("console/"):
            yield from writes(entry, route)


def test_every_route_that_writes_is_recorded_or_says_why_not() -> None:
    routes = {name for name in writes(get_resolver()) if not name.partition(" ")[2].startswith(CONTENTS)}
    assert routes == set(RECORDED) | set(UNRECORDED)
    assert set(RECORDED.values()) <= {(verb.target, verb.name) for verb in verbs.registered()}


@pytest.fixture
def dave(client_of: Callable[..., APIClient], settings: Any) -> APIClient:
    settings.ENCRYPTION_KEYS = [new_key()]
    return client_of("dave", "CreatingBotAllowed", "PublishAllowed")


def test_a_bots_life_over_the_api_is_in_the_audit(dave: APIClient, client_of: Callable[..., APIClient]) -> None:
    carol, sent = client_of("carol", "Admin"), 0

    def send(client: APIClient, name: str, data: Any = None, **ids: Any) -> Any:
        """Writes, and finds the entry of that write: by whom, from where, of what."""
        nonlocal sent
        method, _, route = name.partition(" ")
        for placeholder, value in {"<str:bot_id>": "b", "<int:version>": "1", **ids}.items():
            route = route.replace(placeholder, value)
        headers = {"HTTP_X_REQUEST_ID": f"r-{sent}", "REMOTE_ADDR": "192.0.2.7"}
        answer = getattr(client, method.lower())(f"/{route}", data, format="json", **headers)
        assert answer.status_code == 200, (name, answer.content)
        target, verb = RECORDED[name]
        entry = AuditEntry.objects.get(request_id=f"r-{sent}", target_kind=target, verb=verb)
        sent += 1
        actor = local.local_user("dave" if client is dave else "carol").pk
        assert (entry.actor_kind, entry.actor_id, entry.network) == (ActorKind.USER, actor, "192.0.2.7")
        return answer.json(), entry

    send(dave, "POST bot", payload("b"))
    _, edit = send(dave, f"PATCH {BOT}", {**payload("b"), "title": "A new title"})
    assert (edit.version_before, edit.version_after, edit.fields) == (1, 2, ["title"])
    assert "A new title" not in str(edit.values)
    send(dave, f"POST {BOT}/versions/<int:version>/restore")
    address = {**KNOWLEDGE, "sourceUrls": ["https://x.example/"]}
    send(dave, f"PATCH {BOT}", {"knowledge": address})
    _, sync = send(carol, f"POST {BOT}/knowledge/sync", {"full": True})
    assert sync.values == {"full": True}
    send(dave, f"POST {BOT}/knowledge/cancel")
    _, share = send(dave, f"PATCH {BOT}/visibility", {"targetSharedScope": "all"})
    assert share.values["scope"] == {"before": "private", "after": "all"}
    send(carol, "PATCH admin/bot/<str:bot_id>/pushed", {"toPinned": True, "order": 1})
    assert carol.patch("/admin/bot/b/pushed", {"toPinned": False}, format="json").status_code == 200
    assert AuditEntry.objects.latest("pk").verb == "unpin"
    send(dave, f"POST {BOT}/clone", {})
    send(dave, "POST bot/import", document())
    send(dave, f"POST {API}", UNLIMITED)
    limited = {**UNLIMITED, "quota": {"limit": 9, "offset": 0, "period": "DAY"}}
    _, change = send(dave, f"PATCH {API}", limited)
    assert change.values["quota_limit"] == {"before": None, "after": 9}
    key, _ = send(dave, f"POST {API}/api-key", {"description": "a key"})
    of_key = {"<str:api_key_id>": key["id"]}
    _, switched = send(dave, f"PATCH {KEY}", {"enabled": False}, **of_key)
    assert switched.values["is_enabled"] == {"before": True, "after": False}
    send(dave, f"PATCH {KEY}", {"enabled": True}, **of_key)
    send(carol, f"POST {KEY}/top-up", {"requests": 5}, **of_key)
    send(dave, f"POST {KEY}/rotate", {}, **of_key)
    send(dave, f"DELETE {KEY}", **of_key)
    send(dave, f"DELETE {API}")
    send(dave, f"DELETE {BOT}")
    seen = set(AuditEntry.objects.values_list("target_kind", "verb"))
    assert set(RECORDED.values()) - seen == {("bot", "remove file")}  # tests/bots/test_files.py has it

"""What one route hands out, the next one takes: POST accepts exactly the ids that a URL can name."""

import shutil
import subprocess
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from django.urls import Resolver404, get_resolver
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from bedrock_chat.identity.models import User
from conversations import naming
from conversations.models import Conversation
from tests import build
from tests.conversations.chat import payload, read, say
from tests.emulator import Emulator
from tests.live import LiveServer

ClientOf = Callable[..., APIClient]

WORDS = ["title", "proposed-title", "related-documents", "stream", "stop", "feedback", "conversation", "search"]
PIECES = st.sampled_from(
    [*WORDS, "/", "/", "//", ".", "..", "...", "%2F", "%", "\n", "\t", "\x7f", "\x9f", " ", "?", "#"]
)
ODD = st.lists(PIECES | st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6).map("".join)

ROUTES = {
    "conversation/{c}": "conversation/<path:conversation_id>",
    "conversation/{c}/title": "conversation/<path:conversation_id>/title",
    "conversation/{c}/proposed-title": "conversation/<path:conversation_id>/proposed-title",
    "conversation/{c}/related-documents": "conversation/<shortest:conversation_id>/related-documents",
    "conversation/{c}/related-documents/{s}": (
        "conversation/<shortest:conversation_id>/related-documents/<path:source_id>"
    ),
    "conversation/{c}/{m}/stream": "conversation/<path:conversation_id>/<str:message_id>/stream",
    "conversation/{c}/{m}/stop": "conversation/<path:conversation_id>/<str:message_id>/stop",
    "conversation/{c}/{m}/feedback": "conversation/<path:conversation_id>/<str:message_id>/feedback",
}
"""What a client asks for with a conversation's, a message's and a source's id → the route that it wants."""


def misrouted(conversation: str = "c", message: str = "m", source: str = "s") -> list[str]:
    """The addresses of ROUTES that lead a client with these ids elsewhere, or nowhere."""
    wrong = []
    for address, route in ROUTES.items():
        ids = {"c": conversation, "m": message, "s": source}
        sent = httpx.URL(
            "http://server/" + address.format(**{name: quote(text, safe="") for name, text in ids.items()})
        )
        wanted = {"conversation_id": conversation}
        wanted |= {"message_id": message} if "{m}" in address else {}
        wanted |= {"source_id": source} if "{s}" in address else {}
        try:
            match = get_resolver().resolve(unquote(sent.raw_path.decode()))
        except Resolver404:
            wrong.append(address)
        else:
            if (match.route, match.kwargs) != (route, wanted):
                wrong.append(address)
    return wrong


@given(ODD)
@settings(max_examples=300, deadline=None)
@example("related-documents/x")
@example("/")
@example("..")
@example("a/b/stop")
def test_a_conversation_id_is_refused_if_and_only_if_a_url_with_it_leads_elsewhere(external_id: str) -> None:
    refusal = naming.conversation_refusal(external_id)
    if refusal is None:
        assert misrouted(conversation=external_id) == []
    elif not is_refused_for_caution(external_id):
        assert misrouted(conversation=external_id) != []


def is_refused_for_caution(external_id: str) -> bool:
    """Whether Django would find it, but it holds control characters, or ends like a route that is longer still."""
    return holds_control(external_id) or any(external_id.endswith(f"/{word}") for word in WORDS[:6])


def holds_control(external_id: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in external_id)


@given(ODD)
@settings(max_examples=300, deadline=None)
@example("related-documents")
@example("a/b")
@example(".")
def test_a_message_id_is_refused_if_and_only_if_a_url_with_it_leads_elsewhere(external_id: str) -> None:
    refusal = naming.message_refusal(external_id)
    if refusal is None:
        assert misrouted(message=external_id) == []
    elif not holds_control(external_id):
        assert misrouted(message=external_id) != []


@given(ODD)
@settings(max_examples=300, deadline=None)
@example("a/related-documents/b")
@example("..")
def test_every_source_id_is_one_that_a_url_names(source_id: str) -> None:
    assert misrouted(source=naming.nameable_source(source_id)) == []


@given(ODD, ODD, ODD)
@settings(max_examples=300, deadline=None)
def test_odd_ids_together_lead_nowhere_else(conversation: str, message: str, source: str) -> None:
    if naming.conversation_refusal(conversation) is None and naming.message_refusal(message) is None:
        assert misrouted(conversation, message, naming.nameable_source(source)) == []


# ---- Through the API ------------------------------------------------------------------------------------------------

ACCEPTED = [
    "...", "a/../b", "/a", "a/", "//", "a//b", " ", "%", "%2F", "%2e%2e", "a?b#c", "a;b+c&d=e", "\\", "\u2028",
    "\u200b", "\ufffe", "🦄" * 256, "title", "stream/stream/x", "related-documents", "related-documents/x", "e\u0301",
    "'\"<>",
]  # fmt: skip
REFUSED = [
    ".", "..", "a\nb", "\n", "a\rb", "a\tb", "\x01", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "a/title", "a/b/title",
    "a/proposed-title", "a/related-documents", "a/related-documents/b", "a/b/stream", "a/b/stop", "a/b/feedback",
    "a/stream", "title/title",
]  # fmt: skip
Call = Callable[[str, str, Any], tuple[int, Any]]


def message_id_like(external_id: str) -> str:
    return external_id if naming.message_refusal(external_id) is None else "q"


def use(call: Call, external_id: str, message_id: str) -> None:
    """Alice asks in a conversation of that id, and does with it all that routes offer."""
    status, answered = call("POST", "/conversation", payload(external_id, "hello", message_id=message_id))
    assert (status, answered["conversationId"]) == (200, external_id)
    address = f"/conversation/{quote(external_id, safe='')}"
    message = f"{address}/{quote(message_id, safe='')}"
    assert call("GET", address, None)[1]["id"] == external_id
    assert message_id in call("GET", address, None)[1]["messageMap"]
    assert call("PATCH", f"{address}/title", {"newTitle": f"title of {external_id}"[:1000]})[0] == 200
    assert call("GET", address, None)[1]["title"] == f"title of {external_id}"
    assert call("GET", f"{address}/proposed-title", None)[0] == 200
    assert call("GET", f"{address}/related-documents", None) == (200, [])
    assert call("POST", f"{message}/stop", {}) == (200, None)
    assert call("PUT", f"{message}/feedback", {"thumbsUp": True})[0] == 200
    assert call("GET", f"{message}/stream", None)[0] == 200
    assert call("DELETE", address, None) == (200, None)
    assert call("GET", address, None)[0] == 404


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_every_id_that_is_accepted_can_be_opened_renamed_and_deleted(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")

    def call(method: str, path: str, body: Any) -> tuple[int, Any]:
        response = getattr(alice, method.lower())(path, body, format="json")
        return response.status_code, None if response.streaming else response.json()

    for external_id in ACCEPTED:
        use(call, external_id, message_id_like(external_id))


@pytest.mark.both
@pytest.mark.django_db
@pytest.mark.parametrize("external_id", REFUSED)
def test_what_no_url_can_name_is_refused_and_nothing_is_stored(client_of: ClientOf, external_id: str) -> None:
    alice = client_of("alice")
    refused = say(alice, external_id, "hello")
    assert refused.status_code == 400
    assert refused.json()["errors"][0].startswith("conversationId: ")
    if "/" not in external_id:
        refused = say(alice, "c1", "hello", message_id=external_id)
        assert refused.status_code == 400
        assert refused.json()["errors"][0].startswith("message.messageId: ")
    assert not Conversation.objects.exists()


@pytest.mark.both
@pytest.mark.django_db
def test_what_is_stored_under_such_an_id_is_listed_and_can_be_deleted(client_of: ClientOf) -> None:
    alice = client_of("alice")
    user = local.local_user("alice")
    for external_id in REFUSED:
        build.exchange(build.conversation(user, external_id), "hello")
    listed = [row["id"] for row in alice.get("/conversations").json()]
    assert sorted(listed) == sorted(REFUSED)
    response = alice.post("/conversations/bulk-delete", {"conversationIds": listed[:9]}, format="json")
    assert response.json() == {"deletedCount": 9, "failedIds": []}
    assert alice.delete("/conversations").status_code == 200
    assert alice.get("/conversations").json() == []


@pytest.mark.django_db
def test_the_console_opens_what_is_stored_under_such_an_id(client: Any) -> None:
    client.force_login(User.objects.create_superuser("root", password="x"))
    for external_id in REFUSED:
        row = build.conversation(local.local_user("alice"), external_id)
        assert client.get(f"/console/conversations/conversation/{row.pk}/change/").status_code == 200


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_an_old_message_whose_id_no_url_names_is_still_a_parent(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice.get("/conversations")
    conversation = build.conversation(User.objects.get(username="alice"), "c1")
    build.answer(build.question(conversation, "hello", external_id="a/b"), "Echo: hello", external_id="c\nd")
    assert say(alice, "c1", "and then?", parent="c\nd", message_id="q").status_code == 200
    assert read(alice, "c1")["messageMap"]["q"]["parent"] == "c\nd"


# ---- Through real clients -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["urllib", "httpx", "curl"])
def test_real_clients_reach_every_id_that_is_accepted(
    name: str, emulator_process: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if name == "curl" and shutil.which("curl") is None:
        pytest.skip("no curl here")
    emulator_process.reset()
    with LiveServer(tmp_path_factory.mktemp("server"), emulator_process.url) as server:
        token = server.manage("issue_token", "alice")
        for external_id in ACCEPTED:
            use(CLIENTS[name](server, token), external_id, message_id_like(external_id))


def _over_urllib(server: LiveServer, token: str) -> Call:
    return lambda method, path, body: server.call(method, path, body, token=token)


def _over_httpx(server: LiveServer, token: str) -> Call:
    def call(method: str, path: str, body: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        response = httpx.request(method, server.url + path, json=body, headers=headers, timeout=30)
        return response.status_code, response.json() if "json" in response.headers["Content-Type"] else None

    return call


def _over_curl(server: LiveServer, token: str) -> Call:
    def call(method: str, path: str, body: Any) -> tuple[int, Any]:
        command = ["curl", "-sS", "-X", method, server.url + path, "-w", "\n%{http_code}"]
        command += ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
        if body is not None:
            command += ["--data-binary", httpx.Request("POST", "http://x", json=body).content.decode()]
        shown, _, status = subprocess.run(command, capture_output=True, check=True).stdout.rpartition(b"\n")
        answer = httpx.Response(int(status), content=shown)
        return answer.status_code, None if shown.startswith(b"event:") else answer.json()

    return call


CLIENTS = {"urllib": _over_urllib, "httpx": _over_httpx, "curl": _over_curl}

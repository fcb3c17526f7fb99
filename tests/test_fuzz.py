"""Whatever is sent, the response is one that the OpenAPI document describes, and never a fault of the server."""

import os
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from django.conf import settings as django_settings
from django.core.wsgi import get_wsgi_application
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from rest_framework.test import APIClient
from schemathesis import checks

from bedrock_chat.blobs import links, storing
from bedrock_chat.encryption import encrypting
from bedrock_chat.identity.models import User
from bedrock_chat.wire.ids import new_id
from conversations.models import Conversation
from publication.models import ApiKey, Publication
from tests import build
from tests.bots import bot as bots
from tests.contract.tokens import known_key
from tests.encryption.vault import new_key
from tests.people import auth
from tests.publication.api import publish

SLOW = bool(os.environ.get("SLOW"))
EXAMPLES, WALKS = (40, 80) if os.environ.get("WHOLE") else (12, 30) if SLOW else (5, 10)
pytestmark = [
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),  # WSGI, only here, collects event streams
    pytest.mark.slow if SLOW else pytest.mark.both,  # five examples a route on both databases, all cases on one
    pytest.mark.skipif(
        not SLOW and bool(os.environ.get("TEST_DATABASE_URL")) and connection.vendor == "sqlite",
        reason="the run on PostgreSQL has five examples of each route, and make test-slow has all cases on SQLite",
    ),
]
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

LINKED = {
    "POST /conversation",
    "GET /conversation/{conversation_id}",
    "DELETE /conversation/{conversation_id}",
    "PATCH /conversation/{conversation_id}/title",
    "GET /conversation/{conversation_id}/proposed-title",
    "GET /conversation/{conversation_id}/related-documents",
    "PUT /conversation/{conversation_id}/{message_id}/feedback",
    "GET /conversation/{conversation_id}/{message_id}/stream",
    "POST /conversation/{conversation_id}/{message_id}/stop",
}

schemathesis.serializer.alias("application/zip", "application/octet-stream")
schema = schemathesis.pytest.from_fixture("document")
"""Read when a test runs: every process collects all tests, and to make cases of all routes takes a while."""


@pytest.fixture
def document(transactional_db: None, request: pytest.FixtureRequest) -> Any:
    request.node._nodeid = request.node.nodeid  # pytest 9.2 has it no more, schemathesis 4.32 reads it
    document = schemathesis.openapi.from_wsgi("/schema?format=json", get_wsgi_application())
    document.config.generation.update(with_security_parameters=False)  # tests/test_permissions.py shows who is let in
    document.config.phases.coverage.enabled = SLOW  # hundreds of cases a route
    return document


@pytest.fixture
def alice(transactional_db: None, emulator: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[User, dict[str, str]]:
    monkeypatch.setattr(django_settings, "ENCRYPTION_KEYS", [new_key()])
    known_key()
    authorization = auth("alice", "Admin")["HTTP_AUTHORIZATION"]
    return User.objects.get(username="alice"), {"Authorization": authorization}


def steer(case: schemathesis.Case, user: User) -> None:
    """Makes every other example name rows that exist, and say something: random ids and content do neither."""
    conversation_id = (case.path_parameters or {}).get("conversation_id")
    if isinstance(conversation_id, str) and len(conversation_id) % 2:
        case.path_parameters["conversation_id"] = "c1"
        if not Conversation.objects.filter(external_id="c1").exists():
            question = build.question(build.conversation(user, "c1"), "hello", external_id="q1")
            build.related_document(build.answer(question, "Echo: hello"), "t@0")
        if "source_id" in case.path_parameters:
            case.path_parameters["source_id"] = "t@0"
    random_sha256 = (case.path_parameters or {}).get("sha256")
    if isinstance(random_sha256, str) and len(random_sha256) % 2:
        sha256 = storing.digest(b"file")
        storing.store({sha256: b"file"})
        storing.refer("conversation", 1, [sha256])
        link = links.make(sha256, "text/plain", "file.txt")
        case.path_parameters["sha256"] = sha256
        case.query = dict(parse_qsl(urlsplit(link.url()).query))
    if isinstance((case.path_parameters or {}).get("message_id"), str):
        case.path_parameters["message_id"] = "q1"
    if case.path.startswith("/published/") or (
        "/publication" in case.path and len(str((case.path_parameters or {})["bot_id"])) % 2
    ):
        steer_to_publication(case)
    message = case.body.get("message") if isinstance(case.body, dict) else None
    if isinstance(message, dict) and len(repr(message)) % 2:
        message |= {"role": "user", "content": build.text(repr(message.get("content"))), "parentMessageId": None}
        case.body |= {"botId": None, "continueGenerate": False}
        case.headers["Accept"] = ("application/json", "text/event-stream")[len(repr(message)) // 2 % 2]
        if case.path.startswith("/published/"):
            case.body["conversationId"] = None  # no worker answers the questions that a streamed one would wait for
    if isinstance(case.body, dict) and "messages" in case.body and len(repr(case.body)) % 2:
        case.body |= {"model": "default", "messages": [{"role": "user", "content": repr(case.body["messages"])}]}


def steer_to_publication(case: schemathesis.Case) -> None:
    """Has a bot published, and the case name it and its key: any other bot or key is only refused."""
    client = APIClient()
    client.credentials(**auth("alice", "Admin"))
    if not ApiKey.objects.exists():
        bot_id = new_id()  # one that was given once cannot be given again
        Publication.objects.all().delete()
        bots.make(client, bot_id)
        bots.share(client, bot_id, "all")
        publish(client, bot_id)
    key = ApiKey.objects.select_related("publication").latest("created_at")
    case.path_parameters["bot_id"] = key.publication.bot_id
    case.headers["x-api-key"] = encrypting.decrypt(key.encrypted_value)
    if "stage" in case.path_parameters:
        case.path_parameters["stage"] = key.publication.stage
    if "api_key_id" in case.path_parameters:
        case.path_parameters["api_key_id"] = key.pk


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
def test_a_route_answers_as_documented(case: schemathesis.Case, alice: tuple[User, dict[str, str]]) -> None:
    user, headers = alice
    steer(case, user)
    case.call_and_validate(headers=headers, checks=CHECKS)


# ---- From answer to answer ------------------------------------------------------------------------------------------


def test_a_walk_along_the_links_meets_nothing_undocumented(document: Any, alice: tuple[User, dict[str, str]]) -> None:
    """Makes conversations, follows the links of answers in any order, and finds that deleted ones stay deleted."""
    _, headers = alice
    done: set[str] = set()
    created: set[str] = set()
    deleted: set[str] = set()

    class Walk(document.include(tag="conversation").as_state_machine()):  # type: ignore[misc]  # the class is made when it runs
        def before_call(self, case: schemathesis.Case) -> None:
            # Bodies are valid here, so that a walk gets somewhere. The test above sends invalid ones.
            match case.operation.label:
                case "POST /conversation":
                    message = {"content": build.text("hello"), "model": build.MODEL, "parentMessageId": None}
                    case.body = {"conversationId": new_id(), "message": message}
                    case.headers["Accept"] = "application/json"
                    created.add(case.body["conversationId"])
                case "PATCH /conversation/{conversation_id}/title":
                    case.body = {"newTitle": "Bread"}
                case "PUT /conversation/{conversation_id}/{message_id}/feedback":
                    case.body = {"thumbsUp": True}

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"headers": headers}

        def validate_response(self, response: Any, case: schemathesis.Case, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)
            label, conversation_id = case.operation.label, case.path_parameters.get("conversation_id")
            if response.status_code != 200:
                return
            assert conversation_id not in deleted, f"{label} of a conversation that was deleted"
            done.add(label)
            match label:
                case "DELETE /conversation/{conversation_id}":
                    deleted.add(conversation_id)
                case "DELETE /conversations":
                    deleted.update(created)
                case "POST /conversations/bulk-delete":
                    deleted.update(set(case.body["conversationIds"]) - set(response.json()["failedIds"]))

    Walk.run(
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=20,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )
    # The way of a walk depends on the ids that it meets. Many walks together take every link.
    missed = LINKED - done
    assert not missed if SLOW else len(missed) <= len(LINKED) // 3, f"never reached: {missed}"
    assert created

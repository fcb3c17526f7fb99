"""Whatever is sent, the answer is one the OpenAPI document describes, and never a fault of the server."""

import os
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks

from bedrock_chat.identity.models import User
from conversations.models import Conversation
from tests import build
from tests.contract.tokens import known_key
from tests.people import auth

SLOW = bool(os.environ.get("SLOW"))
EXAMPLES = 100 if SLOW else 10
pytestmark = [
    pytest.mark.both,
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),  # WSGI, here alone, gathers event streams
    *([pytest.mark.slow] if SLOW else []),
]
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]

schema = schemathesis.openapi.from_wsgi("/schema?format=json", get_wsgi_application())
schema.config.generation.update(with_security_parameters=False)  # whom a token lets in is told elsewhere


@pytest.fixture
def alice(transactional_db: None, emulator: Any) -> tuple[User, dict[str, str]]:
    known_key()
    authorization = auth("alice", "Admin")["HTTP_AUTHORIZATION"]
    return User.objects.get(username="alice"), {"Authorization": authorization}


def steer(case: schemathesis.Case, user: User) -> None:
    """Every other example goes where something is: random ids name nothing, and random content says nothing."""
    named = (case.path_parameters or {}).get("conversation_id")
    if isinstance(named, str) and len(named) % 2:
        case.path_parameters["conversation_id"] = "c1"
        if not Conversation.objects.filter(conversation_id="c1").exists():
            build.answer(build.question(build.conversation(user, "c1"), "hello", message_id="q1"), "Echo: hello")
    if isinstance((case.path_parameters or {}).get("message_id"), str):
        case.path_parameters["message_id"] = "q1"
    message = case.body.get("message") if isinstance(case.body, dict) else None
    if isinstance(message, dict) and len(repr(message)) % 2:
        message |= {"role": "user", "content": build.text(repr(message.get("content"))), "parentMessageId": None}
        case.body |= {"botId": None, "continueGenerate": False}
        case.headers["Accept"] = ("application/json", "text/event-stream")[len(repr(message)) // 2 % 2]


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

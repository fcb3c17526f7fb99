"""What operators set of a model holds on every route: conversations, titles, published APIs, and what lists models."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.model_operation import changing
from bedrock_chat.model_operation.changing import Wanted
from tests.conversations.chat import read, say
from tests.emulator import Emulator
from tests.publication.api import Api, question

pytestmark = pytest.mark.django_db(transaction=True)

ClientOf = Callable[..., APIClient]
SONNET, NOVA = "claude-v3.7-sonnet", "amazon-nova-pro"
RESEARCH = Wanted(groups=["research"])


def override(key: str, wanted: Wanted) -> None:
    changing.change(key, wanted, actor=Program.command("a test"))


def config(client: APIClient) -> dict[str, Any]:
    return client.get("/config/global").json()


def test_a_model_for_a_group_is_a_400_for_everybody_else(client_of: ClientOf, emulator: Emulator) -> None:
    alice, bob, carol = client_of("alice", "research"), client_of("bob"), client_of("carol", "Admin")
    override(SONNET, RESEARCH)
    assert say(alice, "a", "hello").status_code == 200
    assert say(carol, "c", "hello").status_code == 200
    refused = say(bob, "b", "hello")
    assert (refused.status_code, refused.json()["detail"]) == (400, f"message.model: {SONNET} is not available here.")
    assert say(bob, "b", "hello", model=NOVA).status_code == 200


def test_the_frontend_is_told_what_its_user_may_use(client_of: ClientOf, settings: Any) -> None:
    alice, bob, nobody, stranger = client_of("alice", "research"), client_of("bob"), APIClient(), APIClient()
    stranger.credentials(HTTP_AUTHORIZATION="Bearer nonsense")
    settings.GLOBAL_AVAILABLE_MODELS = [SONNET, NOVA]
    before = {"globalAvailableModels": [SONNET, NOVA], "defaultModel": settings.DEFAULT_MODEL, "logoPath": ""}
    assert [config(client) for client in (alice, nobody)] == [before, before]
    override(SONNET, RESEARCH)
    override(NOVA, Wanted(is_default=True))
    assert config(alice) == {"globalAvailableModels": [NOVA, SONNET], "defaultModel": NOVA, "logoPath": ""}
    for client in (bob, nobody, stranger):
        assert config(client)["globalAvailableModels"] == [NOVA]
    User.objects.filter(username="alice").update(is_active=False)
    assert config(alice)["globalAvailableModels"] == [NOVA]
    override(NOVA, Wanted(is_enabled=False))
    assert config(bob)["globalAvailableModels"] == ["none"]  # an empty list would offer every model


def test_a_published_api_has_the_models_that_are_open_to_all(dave: APIClient, api: Api, emulator: Emulator) -> None:
    User.objects.filter(username="dave").update(token_groups=["research"])
    override(SONNET, RESEARCH)
    assert api.post(question("hello")).status_code == 400
    assert SONNET not in [model["id"] for model in api.get("/v1/models").json()["data"]]
    sent = {"model": SONNET, "messages": [{"role": "user", "content": "hello"}]}
    refused = api.client.post(f"{api.path}/v1/chat/completions", sent, format="json", HTTP_X_API_KEY=api.key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_an_answer_of_a_model_that_was_disabled_cannot_be_continued(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    emulator.script(text="Once upon", stop="max_tokens")
    say(alice, "c1", "Tell a story")
    assert read(alice, "c1")["shouldContinue"]
    override(SONNET, Wanted(is_enabled=False))
    assert not read(alice, "c1")["shouldContinue"]


def test_a_title_model_that_the_caller_may_not_use_is_not_asked(
    client_of: ClientOf, emulator: Emulator, settings: Any
) -> None:
    alice, bob = client_of("alice", "research"), client_of("bob")
    override(settings.TITLE_MODEL, RESEARCH)
    for client in (alice, bob):
        say(client, "c1", "How do I bake bread?")
    emulator.script(text="Baking bread")
    assert bob.get("/conversation/c1/proposed-title").json()["title"] == "How do I bake bread?"
    assert alice.get("/conversation/c1/proposed-title").json()["title"] == "Baking bread"


def test_a_call_costs_what_operators_have_set(client_of: ClientOf, emulator: Emulator) -> None:
    override(SONNET, Wanted(input_price=Decimal(1), output_price=Decimal(2)))
    say(client_of("alice"), "c1", "hello")
    call = ModelCall.objects.get()
    assert (call.input_price, call.output_price) == (1, 2)
    assert call.price == Decimal(call.input_tokens + 2 * call.output_tokens) / 1000

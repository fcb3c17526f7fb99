"""Chatting with a bot: what goes to the model, who may, and what the conversation keeps."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from bots.models import BotAlias
from conversations.models import Conversation, Message
from tests.bots.bot import PARAMETERS, body, edit, firecrawl, ids, make, pin, share, star
from tests.bots.guarding import guarded
from tests.conversations.chat import read, say, text_of
from tests.conversations.test_queries import statements
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]

BASE = {
    "type": None,
    "embeddingsModel": "titan_v2",
    "openSearch": {"analyzer": None},
    "chunkingConfiguration": {"chunkingStrategy": "default"},
    "searchParams": {"maxResults": 20, "searchType": "hybrid"},
    "existKnowledgeBaseId": "KB1",
}


@pytest.fixture(autouse=True)
def _bedrock(emulator: Emulator) -> None:
    """The emulator answers."""


def asked(client: APIClient, conversation: str, text: str = "hello", **fields: Any) -> Any:
    return body(say(client, conversation, text, **fields))


def sent(emulator: Emulator) -> dict[str, Any]:
    """The body of the last request to a model."""
    last: dict[str, Any] = emulator.requests()[-1]["body"]
    return last


# ---- What the model is sent -----------------------------------------------------------------------------------------


def test_instruction_and_parameters_go_to_the_model(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", generationParams=PARAMETERS)
    answer = asked(alice, "c", bot_id="b")
    assert (answer["botId"], answer["warnings"]) == ("b", [])
    request = sent(emulator)
    assert request["system"] == [{"text": "You are b."}, {"cachePoint": {"type": "default"}}]
    assert request["inferenceConfig"] == {"maxTokens": 2000, "temperature": 0.5, "topP": 0.9, "stopSequences": ["STOP"]}
    assert request["additionalModelRequestFields"] == {"top_k": 100}
    assert ModelCall.objects.get().bot_id == "b"


def test_without_prompt_caching_nothing_is_marked(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", promptCachingEnabled=False)
    asked(alice, "c", bot_id="b")
    assert "cachePoint" not in str(sent(emulator))


def test_the_bots_budget_is_for_thinking(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", generationParams=PARAMETERS)
    asked(alice, "c", bot_id="b", enable_reasoning=True)
    assert sent(emulator)["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2048


def test_an_edit_changes_parameters_from_the_next_turn_and_never_the_instruction(
    alice: APIClient, emulator: Emulator
) -> None:
    make(alice, "b", generationParams=PARAMETERS)
    asked(alice, "c", bot_id="b")
    edit(alice, "b", instruction="You are another.", generationParams={**PARAMETERS, "maxTokens": 500})
    asked(alice, "c", "again")
    assert sent(emulator)["system"][0] == {"text": "You are b."}
    assert sent(emulator)["inferenceConfig"]["maxTokens"] == 500
    asked(alice, "new", bot_id="b")
    assert sent(emulator)["system"][0] == {"text": "You are another."}


def test_what_a_model_does_not_take_is_left_out_and_told(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", generationParams={**PARAMETERS, "topK": 200})
    answer = asked(alice, "c", bot_id="b", model="amazon-nova-lite")
    assert answer["warnings"] == ["topK is not sent as chosen: Nova Lite does not take it."]
    assert "topK" not in str(sent(emulator).get("additionalModelRequestFields"))


@pytest.mark.parametrize(
    ("model", "budget", "is_told"),
    [
        ("claude-v3.7-sonnet", 2048, False),
        ("claude-v3.7-sonnet", 64_000, True),  # it does not fit beside the answer
        ("claude-v4.6-sonnet", 2048, True),  # the model decides itself
        ("claude-v4.6-sonnet", 1024, False),  # what clients send unasked
        ("claude-v3-haiku", 2048, False),  # it does not think
    ],
)
def test_a_budget_for_thinking_that_is_not_sent_as_chosen_is_told(
    alice: APIClient, model: str, budget: int, is_told: bool
) -> None:
    make(alice, "b", generationParams={**PARAMETERS, "topP": 0.999, "reasoningParams": {"budgetTokens": budget}})
    warnings = asked(alice, "c", bot_id="b", model=model, enable_reasoning=True)["warnings"]
    assert any(sentence.startswith("budgetTokens ") for sentence in warnings) is is_told
    warnings = asked(alice, "d", bot_id="b", model=model)["warnings"]
    assert not any(sentence.startswith("budgetTokens ") for sentence in warnings)


def test_only_active_models_answer(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", activeModels={"claudeV37Sonnet": False})
    assert say(alice, "c", "hello", bot_id="b").status_code == 400
    assert emulator.requests() == []
    assert not Conversation.objects.exists()
    asked(alice, "c", bot_id="b", model="claude-v3-haiku")
    assert say(alice, "c", "again").status_code == 400


def test_an_answer_of_a_bot_that_is_to_be_guarded_by_now_promises_no_continuation(alice: APIClient) -> None:
    make(alice, "b")
    asked(alice, "c", "write long [[max_tokens]]", bot_id="b")
    assert read(alice, "c")["shouldContinue"] is True
    edit(alice, "b", bedrockGuardrails=guarded())
    assert read(alice, "c")["shouldContinue"] is False
    assert say(alice, "c", "", continue_generate=True).status_code == 409


def test_tools_and_knowledge_are_offered_to_the_model_and_their_secrets_are_not(
    alice: APIClient, emulator: Emulator
) -> None:
    make(alice, "b", agent=firecrawl("fc-secret"), bedrockKnowledgeBase=BASE)
    assert asked(alice, "c", bot_id="b")["warnings"] == []
    tools = [entry["toolSpec"]["name"] for entry in sent(emulator)["toolConfig"]["tools"] if "toolSpec" in entry]
    assert tools == ["internet_search", "knowledge_base_tool"]
    assert "fc-secret" not in str(sent(emulator))


# ---- Who may --------------------------------------------------------------------------------------------------------


def test_a_shared_bot_works_at_once_by_its_link(alice: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    share(alice, "b", "partial", ["bob"], "sales")
    asked(client_of("bob"), "c", bot_id="b")
    asked(client_of("dora", "sales"), "c", bot_id="b")
    assert say(client_of("erin", "marketing"), "c", "hello", bot_id="b").status_code == 404
    asked(client_of("carol", "Admin"), "c", bot_id="b")


def test_whoever_may_not_learns_not_even_that_it_exists(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    refused, unknown = (say(bob, "c", "hello", bot_id=bot_id) for bot_id in ("b", "x"))
    assert refused.status_code == unknown.status_code == 404
    assert refused.json()["detail"].replace(": b", "") == unknown.json()["detail"].replace(": x", "")
    assert not Conversation.objects.exists()
    assert not BotAlias.objects.exists()


def test_access_that_is_taken_away_ends_with_the_next_turn(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    asked(bob, "c", "cut [[max_tokens]]", bot_id="b", message_id="q")
    assert read(bob, "c")["shouldContinue"] is True
    share(alice, "b", "private")
    shown = read(bob, "c")
    assert (shown["botAvailable"], shown["shouldContinue"]) == (False, False)
    assert say(bob, "c", "again").status_code == 404
    assert say(bob, "c", [], continue_generate=True).status_code == 404
    assert asked(bob, "c", "cut [[max_tokens]]", message_id="q")["botId"] == "b"  # what was answered can be had again
    assert Message.objects.count() == 2


def test_a_group_that_was_taken_counts_no_more_with_the_next_token(alice: APIClient, client_of: ClientOf) -> None:
    make(alice, "b")
    share(alice, "b", "partial", [], "sales")
    asked(client_of("bob", "sales"), "c", bot_id="b")
    assert say(client_of("bob"), "c", "again").status_code == 404


def test_a_conversation_whose_bot_is_gone_is_read_and_says_so(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    asked(bob, "c", bot_id="b")
    assert read(bob, "c")["botAvailable"] is True
    alice.delete("/bot/b")
    shown = read(bob, "c")
    assert (shown["botId"], shown["botAvailable"]) == ("b", False)
    assert [entry["botId"] for entry in body(bob.get("/conversations"))] == ["b"]
    asked(bob, "plain")
    assert read(bob, "plain")["botAvailable"] is None


def test_the_instruction_is_the_owners_alone(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    asked(bob, "c", bot_id="b")
    assert "You are b." not in bob.get("/conversation/c").content.decode()
    assert text_of(read(bob, "c")["messageMap"]["system"]) == ""
    assert "You are b." not in bob.get("/bot/summary/b").content.decode()


# ---- A conversation and its bot -------------------------------------------------------------------------------------


def test_a_turn_without_a_bot_uses_the_conversations(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", generationParams=PARAMETERS)
    asked(alice, "c", bot_id="b")
    assert asked(alice, "c", "again")["botId"] == "b"
    assert sent(emulator)["inferenceConfig"]["maxTokens"] == 2000


def test_a_conversation_keeps_its_bot(alice: APIClient) -> None:
    make(alice, "b")
    make(alice, "other")
    asked(alice, "c", bot_id="b")
    asked(alice, "plain")
    assert say(alice, "c", "again", bot_id="other").status_code == 400
    assert say(alice, "plain", "again", bot_id="b").status_code == 400


# ---- What a person's row says ---------------------------------------------------------------------------------------


def test_a_use_is_a_question_that_was_stored(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b")
    asked(alice, "c", "one", bot_id="b", message_id="q1")
    asked(alice, "c", "one", message_id="q1")  # a repeat
    emulator.script(fault="AccessDeniedException", times=1)
    assert say(alice, "c", "two", message_id="q2").status_code == 502
    asked(alice, "c", "two", message_id="q2")  # the same question, asked again
    asked(alice, "c", "cut [[max_tokens]]", message_id="q3")
    asked(alice, "c", [], continue_generate=True)
    alice.get("/conversation/c/proposed-title")
    assert BotAlias.objects.get().uses == 3


def test_who_used_a_bot_finds_it_again(alice: APIClient, bob: APIClient) -> None:
    for bot_id in ("a", "b"):
        make(alice, bot_id)
        share(alice, bot_id, "all")
        asked(bob, f"c{bot_id}", bot_id=bot_id)
    assert ids(bob.get("/bot?kind=mixed&limit=10")) == ["b", "a"]
    asked(bob, "ca", "again")
    assert ids(bob.get("/bot?kind=mixed&limit=10")) == ["a", "b"]
    share(alice, "a", "private")
    [gone, _] = body(bob.get("/bot?kind=mixed&limit=10"))
    assert (gone["available"], gone["title"], gone["sharedStatus"]) == (False, "Title of a", "unshared")
    edit(alice, "a", title="Secret")
    assert "Secret" not in str(body(bob.get("/bot?kind=mixed&limit=10")))
    share(alice, "a", "all")
    assert body(bob.get("/bot?kind=mixed&limit=10"))[0]["title"] == "Secret"


def test_the_star_stays_when_the_bot_is_used(alice: APIClient) -> None:
    make(alice, "b")
    star(alice, "b")
    asked(alice, "c", bot_id="b")
    [entry] = body(alice.get("/bot?kind=mixed&starred=true"))
    assert entry["isStarred"] is True
    assert entry["lastUsedTime"] > entry["createTime"]


def test_what_admin_does_to_a_bot_leaves_its_conversations_readable(
    alice: APIClient, bob: APIClient, carol: APIClient
) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    asked(bob, "c", bot_id="b")
    edit(carol, "b", title="Edited")
    pin(carol, "b", 3)
    pin(carol, "b", None)
    assert share(carol, "b", "private").status_code == 200
    assert read(bob, "c")["botAvailable"] is False


# ---- Cost -----------------------------------------------------------------------------------------------------------


def cost(client: APIClient, conversation: str, **fields: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        asked(client, conversation, **fields)
    return len(statements(captured))


def test_a_bot_costs_two_statements(alice: APIClient, bob: APIClient) -> None:
    make(alice, "b")
    share(alice, "b", "partial", ["bob"])
    asked(bob, "plain", "first")
    asked(bob, "c", "first", bot_id="b")
    assert cost(bob, "c") == cost(bob, "plain") + 2
    assert cost(bob, "new", bot_id="b") == cost(bob, "new plain") + 2
    assert cost(alice, "own", bot_id="b") == cost(alice, "own plain") + 2

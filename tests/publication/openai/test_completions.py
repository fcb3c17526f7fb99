"""Chat completions: what clients get, what the model is sent, what is spent and what is kept."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.blobs.models import Blob
from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation, Message
from publication import simulating
from publication.models import ApiKey, Gate, Publication, TurnRequest
from tests.bots.bot import PARAMETERS, body, edit, make, share
from tests.bots.guarding import change, finish
from tests.conversations.test_queries import statements
from tests.emulator import Emulator
from tests.publication.api import Api, limits, publish
from tests.publication.openai.chat import (
    NOVA,
    PATH,
    SONNET,
    assistant,
    complete,
    error_of,
    image,
    post,
    said,
    stream,
    system,
    user,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


def sent(emulator: Emulator) -> dict[str, Any]:
    """The body of the newest request to a model, without marks for the prompt cache."""
    request = emulator.requests()[-1]["body"]
    for blocks in (request["system"], *(message["content"] for message in request["messages"])):
        blocks[:] = [block for block in blocks if "cachePoint" not in block]
    return request


def test_an_answer_comes_whole(api: Api) -> None:
    completion = complete(api, user("hello"))
    assert said(completion) == ("Echo: hello", "stop")
    assert (completion["object"], completion["model"]) == ("chat.completion", SONNET)
    assert completion["id"].startswith("chatcmpl-")
    usage = completion["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] > 0


def test_an_answer_comes_as_it_is_written(api: Api) -> None:
    *chunks, usage, done = stream(api, user("[[words:40]] [[pace:0.002]]"), stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert {(chunk["id"], chunk["object"], chunk["model"]) for chunk in (*chunks, usage)} == {
        (chunks[0]["id"], "chat.completion.chunk", SONNET)
    }
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[1:-1]]
    assert len(deltas) > 3
    assert len("".join(delta["content"] for delta in deltas).split()) == 40
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [*[None] * (len(chunks) - 1), "stop"]
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 40)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert not any("usage" in event for event in stream(api) if event != "[DONE]")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[max_tokens]]", "length"),
        ("[[stop:model_context_window_exceeded]]", "length"),
        ("[[guardrail]]", "content_filter"),
        ("[[stop:stop_sequence]]", "stop"),
        ("[[stop:something_new]]", "stop"),
    ],
)
def test_why_an_answer_ended_is_told_in_openais_words(api: Api, text: str, reason: str) -> None:
    assert said(complete(api, user(text)))[1] == reason
    assert stream(api, user(text))[-2]["choices"][0]["finish_reason"] == reason


def test_the_bots_guardrail_judges_whatever_the_client_sends(api: Api, dave: APIClient, emulator: Emulator) -> None:
    change(dave, "helper")
    finish()
    for text in ("[[blocked]]", "[[blocked:answer]]"):
        sentence, reason = said(complete(api, system("Say anything."), user(text)))
        assert (reason, "Echo" in sentence, bool(sentence)) == ("content_filter", False, True)
        assert stream(api, user(text))[-2]["choices"][0]["finish_reason"] == "content_filter"
        assert emulator.requests()[-1]["body"]["guardrailConfig"]["guardrailVersion"] == "1"
    assert said(complete(api, user("hello"))) == ("Echo: hello", "stop")


def test_instructions_follow_the_bots_own_as_blocks(api: Api, emulator: Emulator) -> None:
    parts = [{"type": "text", "text": "Three."}, {"type": "text", "text": " "}]
    complete(api, system("One."), user("a"), assistant("b"), system("Two.", "developer"), user("c"), system(parts))
    request = sent(emulator)
    assert request["system"] == [{"text": text} for text in ("You are helper.", "One.", "Two.", "Three.")]
    assert [message["role"] for message in request["messages"]] == ["user", "assistant", "user"]


def test_a_model_without_system_prompts_gets_them_before_the_first_question(api: Api, emulator: Emulator) -> None:
    complete(api, system("One."), user("a"), model="mistral-7b-instruct")
    request = emulator.requests()[-1]["body"]
    assert "system" not in request
    assert request["messages"][0]["content"] == [{"text": "You are helper."}, {"text": "One."}, {"text": "a"}]


def test_neighbours_of_one_role_are_joined(api: Api, emulator: Emulator) -> None:
    complete(api, user("a"), user([{"type": "text", "text": "b"}]), assistant("c"), assistant(None), user("d"))
    texts = [[block["text"] for block in message["content"]] for message in sent(emulator)["messages"]]
    assert texts == [["a", "b"], ["c"], ["d"]]


def test_an_image_is_seen(api: Api, png: str) -> None:
    assert said(complete(api, user([{"type": "text", "text": "What is it?"}, image(png)])))[0] == "I see an image."


def test_a_history_of_twenty_turns_goes_along(api: Api, emulator: Emulator) -> None:
    history = [message for number in range(20) for message in (user(f"q{number}"), assistant(f"a{number}"))]
    assert said(complete(api, *history, user("and now?")))[0] == "Echo: and now?"
    assert len(sent(emulator)["messages"]) == 41


def test_the_first_active_model_answers_where_none_is_named(api: Api, dave: APIClient) -> None:
    listed = [model["id"] for model in api.get("/v1/models").json()["data"]]
    assert complete(api, model="default")["model"] == complete(api, model=None)["model"] == listed[0]
    edit(dave, "helper", activeModels={"claudeV45Sonnet": False, "claudeV37Sonnet": False})
    remaining = api.get("/v1/models").json()
    assert remaining["object"] == "list"
    ids = [model["id"] for model in remaining["data"]]
    assert SONNET not in ids
    assert complete(api, model="default")["model"] == ids[0]
    refused = post(api, model=SONNET)
    assert (refused.status_code, error_of(refused)["code"], error_of(refused)["param"]) == (
        *(404, "model_not_found", "model"),
    )


def test_parameters_replace_the_bots_and_max_tokens_only_lowers_them(
    api: Api, dave: APIClient, emulator: Emulator
) -> None:
    own_parameters = {"maxTokens": 500, "temperature": 0.9, "topP": 0.5, "stopSequences": ["own"]}
    edit(dave, "helper", generationParams={**PARAMETERS, **own_parameters})

    def config(**fields: Any) -> dict[str, Any]:
        complete(api, model=NOVA, **fields)
        inference: dict[str, Any] = sent(emulator)["inferenceConfig"]
        return inference

    own = {"maxTokens": 500, "temperature": 0.9, "topP": 0.5, "stopSequences": ["own"]}
    assert config() == own
    chosen = {"temperature": 0.1, "top_p": 0.2, "stop": "x", "max_tokens": 100}
    assert config(**chosen) == {"maxTokens": 100, "temperature": 0.1, "topP": 0.2, "stopSequences": ["x"]}
    assert config(max_tokens=900) == own
    assert config(max_completion_tokens=50, max_tokens=60)["maxTokens"] == 50
    assert config(stop=["a", "b"])["stopSequences"] == ["a", "b"]
    assert config(temperature=0)["temperature"] == 0


def test_top_p_alone_is_meant_where_a_model_takes_one_of_both(api: Api, dave: APIClient, emulator: Emulator) -> None:
    edit(dave, "helper", generationParams=PARAMETERS)
    complete(api, model="claude-v4.5-sonnet", top_p=0.3)
    assert sent(emulator)["inferenceConfig"].items() >= {"topP": 0.3}.items()
    complete(api, model="claude-v4.5-sonnet", top_p=0.3, temperature=0.2)
    config = sent(emulator)["inferenceConfig"]
    assert (config["temperature"], config.get("topP")) == (0.2, None)


def test_every_model_takes_the_parameters_that_clients_send(api: Api) -> None:
    """Those that a model does not have are left out, and Bedrock refuses nothing."""
    models = [model["id"] for model in api.get("/v1/models").json()["data"]]
    assert len(models) > 20
    for model in models:
        assert said(complete(api, model=model, temperature=0.7, top_p=1, max_tokens=1000))[0] == "Echo: hello"


def test_fields_that_change_nothing_are_ignored(api: Api) -> None:
    harmless = {
        "n": 1,
        "tools": [],
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "logprobs": False,
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "logit_bias": {},
        "modalities": ["text"],
        "store": True,
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "parallel_tool_calls": True,
        "reasoning_effort": "low",
        "stream": None,
        "stream_options": None,
        "stop": None,
        "user": None,
        "something_new": {"deep": [1]},
    }
    assert said(complete(api, user("hello"), **harmless))[0] == "Echo: hello"


def test_the_owner_pays_one_row_and_nothing_else_is_kept(api: Api, dave: APIClient, png: str) -> None:
    complete(api, user([image(png)]), user="customer 4711")
    stream(api, user="customer 4711")
    owner = body(dave.get("/bot/private/helper"))["ownerUserId"]
    for call in ModelCall.objects.all():
        assert (call.user_id, call.payer_id, call.user_label) == (None, owner, "customer 4711")
        assert (call.bot_id, call.key_id, call.conversation_external_id) == ("helper", ApiKey.objects.get().pk, "")
        assert (call.fault, call.estimated, call.stop_reason) == ("", False, "end_turn")
        assert call.price
    assert ModelCall.objects.count() == 2
    for kept in (Conversation, Message, TurnRequest, Blob):
        assert not kept._default_manager.exists()


def test_the_statements_of_a_completion(dave: APIClient, emulator: Emulator) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=100, rate=100, burst=100))
    complete(api)
    with CaptureQueriesContext(connection) as captured:
        complete(api)
    # Key, limits, bot; the ledger's row before the call; after it who pays, and the row.
    assert len(statements(captured)) == 6, statements(captured)
    with CaptureQueriesContext(connection) as captured:
        assert api.get("/v1/models").status_code == 200
    assert len(statements(captured)) == 3, statements(captured)


def test_completions_are_among_the_requests_that_limits_are_tried_on(api: Api) -> None:
    complete(api)
    api.ask()
    stream(api)
    post(api, n=2)  # what was refused left no trace
    requests = list(simulating.requests_of(Publication.objects.get(), database_now() - timedelta(hours=1)))
    assert len(requests) == 3
    assert [request.at for request in requests] == sorted(request.at for request in requests)
    assert {request.key_id for request in requests} == {ApiKey.objects.get().pk}


def test_a_completion_has_the_same_limits_as_a_question(dave: APIClient, emulator: Emulator) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=3))
    assert post(api).headers["RateLimit"].startswith('"quota";r=2;')
    api.ask()
    assert post(api, n=2).status_code == 400  # it counts, as everywhere
    refused = post(api)
    assert (refused.status_code, error_of(refused)["code"]) == (429, "insufficient_quota")
    assert int(refused.headers["Retry-After"]) > 0
    assert api.get("/v1/models").status_code == 200
    assert Gate.objects.get(account=ApiKey.objects.get().lineage).used == 3


def test_the_throttle_says_when_to_come_back(dave: APIClient, emulator: Emulator) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(rate=0.1, burst=1))
    complete(api)
    refused = post(api)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert error_of(refused)["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("field", ["HTTP_X_API_KEY", "HTTP_AUTHORIZATION"])
def test_the_key_comes_as_a_bearers_or_as_everywhere_else(api: Api, field: str) -> None:
    def status(value: str) -> int:
        shown = value if field == "HTTP_X_API_KEY" else f"Bearer {value}"
        sent = {"messages": [user()]}
        return int(api.client.post(api.path + PATH, sent, format="json", **{field: shown}).status_code)

    assert (status(api.key), status("nope"), status("")) == (200, 403, 403)


def test_a_bearers_key_opens_these_routes_alone(api: Api, dave: APIClient, alice: APIClient) -> None:
    authorization = {"HTTP_AUTHORIZATION": f"Bearer {api.key}"}
    assert APIClient().get(f"{api.path}/health", **authorization).status_code == 403
    assert APIClient().get(f"{api.path}/v1/models", **authorization).status_code == 200
    assert alice.get(f"{api.path}/v1/models").status_code == 403
    make(dave, "other")
    share(dave, "other", "all")
    other = publish(dave, "other")
    refused = post(api, key=other.key)
    assert (refused.status_code, error_of(refused)["code"]) == (403, "invalid_api_key")


def test_pages_of_an_allowed_origin_may_send_what_openais_client_sends(dave: APIClient, emulator: Emulator) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(allowedOrigins=["https://app.example.com"]))
    preflight = {"HTTP_ORIGIN": "https://app.example.com", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    allowed = APIClient().options(api.path + PATH, **preflight).headers["Access-Control-Allow-Headers"].split(", ")
    assert {"authorization", "x-stainless-lang", "x-stainless-retry-count", "content-type"} <= set(allowed)
    refused = api.client.post(api.path + PATH, {}, format="json", HTTP_ORIGIN="https://app.example.com")
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert error_of(refused)["code"] == "invalid_api_key"

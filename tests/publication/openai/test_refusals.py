"""What a chat completion is refused, in the shape of OpenAI's errors, and before any model is asked."""

from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from publication.models import ApiKey, Gate
from tests.bots.bot import edit, make, share
from tests.bots.guarding import guarded
from tests.emulator import Emulator
from tests.publication.api import Api, limits, publish
from tests.publication.openai.chat import PATH, assistant, complete, error_of, image, post, stream, system, user

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no messages": ({"messages": []}, "messages", "last message must be of the role user"),
    "messages that are none": ({"messages": "hello"}, "messages", "Expected a list"),
    "the answer last": ({"messages": [user(), assistant("a")]}, "messages", "last message must be of the role user"),
    "the answer first": ({"messages": [assistant("a"), user()]}, "messages", "first message"),
    "instructions alone": ({"messages": [system("a")]}, "messages", "last message must be of the role user"),
    "nothing said": ({"messages": [user(" ")]}, "messages", "needs text or an image"),
    "nothing said before": ({"messages": [user(""), assistant("a"), user()]}, "messages", "needs text or an image"),
    "another role": ({"messages": [user(), {"role": "tool", "content": "x"}]}, "messages.1.role", "Tools are not"),
    "a tool call": (
        {"messages": [user(), {**assistant(None), "tool_calls": [{"id": "t"}]}, user()]},
        "messages.1.tool_calls",
        "Tools are not offered",
    ),
    "a part of another type": (
        {"messages": [user([{"type": "input_audio"}])]},
        "messages.0.content.0.type",
        "Expected one of text, image_url",
    ),
    "an image of the model's": (
        {"messages": [user(), assistant([ADDRESS]), user()]},
        "messages.1.content.0.type",
        "Expected one of text in a message of the role assistant",
    ),
    "an address of an image": (
        {"messages": [user([{"type": "text", "text": "a"}, ADDRESS])]},
        "messages.0.content.1.image_url.url",
        "not fetched from addresses",
    ),
    "an image that is none": (
        {"messages": [user([image("aGVsbG8=")])]},
        "messages.0.content.0.image_url.url",
        "no image that can be read",
    ),
    "an image not in base64": (
        {"messages": [user([{"type": "image_url", "image_url": {"url": "data:image/png,abc"}}])]},
        "messages.0.content.0.image_url.url",
        "in base64",
    ),
    "too many parts": ({"messages": [user([{"type": "text", "text": "a"}] * 65)]}, "messages.0.content", "at most 64"),
    "too many messages": ({"messages": [user()] * 10_001}, "messages", "at most 10,000"),
    "two answers": ({"n": 2}, "n", "not offered"),
    "tools": ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "not offered"),
    "functions": ({"functions": [{"name": "f"}]}, "functions", "not offered"),
    "a format": ({"response_format": {"type": "json_object"}}, "response_format", "not offered"),
    "probabilities": ({"logprobs": True}, "logprobs", "not offered"),
    "words that are banned": ({"logit_bias": {"1": -100}}, "logit_bias", "not offered"),
    "a voice": ({"modalities": ["text", "audio"]}, "modalities", "not offered"),
    "a search": ({"web_search_options": {}}, "web_search_options", "not offered"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    "tokens in words": ({"max_completion_tokens": "9"}, "max_completion_tokens", "A valid integer"),
    "another temperature": ({"temperature": 1.5}, "temperature", "takes 0 to 1"),
    "more than all": ({"top_p": 2}, "top_p", "takes 0"),
    "too many stops": ({"stop": ["a"] * 5}, "stop", "at most 4"),
    "an empty stop": ({"stop": ""}, "stop", "1 to 1,000 characters"),
    "a long label": ({"user": "x" * 129}, "user", "no more than 128"),
    "options that are none": ({"stream_options": "yes"}, "stream_options", "Expected"),
}


def test_a_request_is_refused_with_the_name_of_its_field(api: Api, emulator: Emulator) -> None:
    for number, (case, (fields, param, words)) in enumerate(REFUSED.items()):
        refused = post(api, **fields, stream=bool(number % 2))
        error = error_of(refused)
        assert (refused.status_code, error["type"], error["code"]) == (400, "invalid_request_error", None), case
        assert error["param"] == param, case
        assert words in error["message"], case
    assert emulator.requests() == []
    assert not ModelCall.objects.exists()


def test_more_than_the_window_holds_is_refused_at_once(api: Api, emulator: Emulator) -> None:
    refused = post(api, user("word " * 400_000))
    assert (refused.status_code, error_of(refused)["code"]) == (400, "context_length_exceeded")
    assert emulator.requests() == []


def test_what_bedrock_finds_too_long_has_the_same_code(api: Api, emulator: Emulator) -> None:
    emulator.script(fault="ValidationException", message="Input is too long for requested model.")
    refused = post(api)
    assert (refused.status_code, error_of(refused)["code"]) == (400, "context_length_exceeded")


def test_an_image_for_a_model_that_sees_none_is_refused(api: Api, png: str) -> None:
    refused = post(api, user([image(png)]), model="amazon-nova-micro")
    assert refused.status_code == 400
    assert "cannot see images" in error_of(refused)["message"]


def test_what_is_not_there_is_refused_in_openais_shape(api: Api) -> None:
    for path, method, status in (
        (PATH, "get", 405),
        ("/v1/embeddings", "post", 404),
        ("/v1", "get", 404),
        ("/v1/models", "delete", 405),
    ):
        refused = getattr(api.client, method)(api.path + path, HTTP_AUTHORIZATION=f"Bearer {api.key}")
        assert refused.status_code == status
        assert error_of(refused)["type"] == "invalid_request_error"


def test_a_body_that_is_no_json_is_refused_in_openais_shape(api: Api) -> None:
    for sent, kind, status in (
        (b"{nope", "application/json", 400),
        (b"a=b", "text/plain", 415),
        (b"[]", "application/json", 400),
        (b"", "application/json", 400),
    ):
        refused = api.client.post(api.path + PATH, sent, content_type=kind, HTTP_X_API_KEY=api.key)
        assert refused.status_code == status
        assert error_of(refused)["type"] == "invalid_request_error"


def test_other_routes_keep_their_shape(api: Api) -> None:
    assert set(api.get("/conversation/nope").json()) == {"detail", "errors"}


@pytest.mark.parametrize(("fault", "status"), [("ThrottlingException", 503), ("ModelErrorException", 502)])
def test_a_fault_of_the_model_has_its_status_before_the_stream_begins(
    api: Api, emulator: Emulator, settings: LazySettings, fault: str, status: int
) -> None:
    settings.MODEL_RETRY_SECONDS = 0
    emulator.script(fault=fault)
    for is_streamed in (False, True):
        failed = post(api, stream=is_streamed)
        assert (failed.status_code, error_of(failed)["type"]) == (status, "server_error")
        assert ("Retry-After" in failed.headers) == (status == 503)
    assert [call.fault for call in ModelCall.objects.all()] == [fault] * 2


def test_a_fault_in_mid_stream_is_an_object_with_the_error(api: Api) -> None:
    *chunks, error = stream(api, user("[[words:5]] [[streamerror]]"))
    assert len(chunks) > 1
    assert (list(error), error["error"]["type"]) == (["error"], "server_error")
    call = ModelCall.objects.get()
    assert (call.fault, call.estimated) == ("ModelStreamErrorException", True)


def test_what_is_refused_for_want_of_room_counts_for_nothing(
    dave: APIClient, emulator: Emulator, settings: LazySettings
) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=5))

    def used() -> int:
        return int(Gate.objects.get(account=ApiKey.objects.get().lineage).used)

    complete(api)
    for setting, status in (("TURNS", 503), ("TURNS_PER_PUBLICATION", 429)):
        before = getattr(settings, setting)
        setattr(settings, setting, 0)
        for is_streamed in (False, True):
            refused = post(api, stream=is_streamed)
            assert (refused.status_code, refused.headers["Retry-After"]) == (status, "2")
            assert error_of(refused)["message"].endswith("try again.")
        setattr(settings, setting, before)
    assert used() == 1
    settings.MODEL_RETRY_SECONDS = 0
    emulator.script(fault="ThrottlingException")
    assert post(api).status_code == 503  # Bedrock's refusal is a failed turn, which counts
    assert used() == 2


def test_a_bot_whose_guardrail_is_not_there_is_not_answered(api: Api, dave: APIClient, emulator: Emulator) -> None:
    assert edit(dave, "helper", bedrockGuardrails=guarded(hateThreshold=3)).status_code == 200
    refused = post(api)
    assert (refused.status_code, error_of(refused)["type"]) == (409, "invalid_request_error")
    assert "guardrail" in error_of(refused)["message"]
    assert not [request for request in emulator.requests() if request["operation"].startswith("Converse")]

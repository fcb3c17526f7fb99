"""A prompt that is too long for a model is refused in its vendor's words, by some only after the stream has begun."""

from typing import Any

import pytest
from botocore.exceptions import EventStreamError

from bedrock_chat.bedrock import faults, runtime
from bedrock_chat.bedrock.catalog import MODELS, Model, Target, find
from bedrock_chat.bedrock.request import ModelRequest
from tests.bedrock.boto import boto, stream, user
from tests.emulator import Emulator

KEYS = sorted(key for key, model in MODELS.items() if model.context_window and model.context_window <= 200_000)
FAMILIES = sorted({MODELS[key].family: key for key in KEYS}.values())
"""A model of each family, but for Amazon's."""


def too_long(model: Model) -> dict[str, Any]:
    return user("x" * (4 * (model.context_window or 0) + 100))


@pytest.mark.parametrize("listens", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=() if key in FAMILIES else pytest.mark.slow) for key in [*KEYS, "amazon-nova-lite"]]
)
def test_every_models_refusal_is_a_conversation_that_is_too_long(emulator: Emulator, key: str, listens: bool) -> None:
    model = find(key)
    request = ModelRequest(model, Target(model.bedrock_id, "us-east-1"), {"messages": [too_long(model)]})
    with pytest.raises(faults.TooLong) as caught:
        list(runtime.call(request, stream=listens))
    assert caught.value.status_code == 400
    assert len(emulator.requests()) == 1


@pytest.mark.parametrize(
    ("key", "sentence", "in_stream"),
    [
        ("claude-v4.5-haiku", "prompt is too long: 200025 tokens > 200000 maximum", False),
        ("claude-v4.5-sonnet", "Input is too long for requested model.", False),
        ("amazon-nova-micro", "Input Tokens Exceeded", True),
        ("llama3-3-70b-instruct", "This model's maximum context length is 128000 tokens", True),
        ("gpt-oss-20b", "exceeds model's maximum context length (128000)", True),
        ("mistral-large-2", "too large for model with 128000 maximum context length", False),
    ],
)
def test_the_words_and_where_they_come(emulator: Emulator, key: str, sentence: str, in_stream: bool) -> None:
    model, client = find(key), boto(emulator)
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.converse(modelId=model.bedrock_id, messages=[too_long(model)])
    assert sentence in str(caught.value)
    with pytest.raises(client.exceptions.ClientError) as caught:
        stream(emulator, too_long(model), model=model.bedrock_id)
    assert sentence in str(caught.value)
    assert isinstance(caught.value, EventStreamError) is in_stream
    assert emulator.requests()[-1]["status"] == (
        200 if in_stream else caught.value.response["ResponseMetadata"].get("HTTPStatusCode")
    )

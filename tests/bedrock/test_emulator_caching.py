"""The emulator takes cache points where the model's family takes them, and refuses all others in Bedrock's words."""

from typing import Any

import pytest

from bedrock_chat.bedrock.catalog import MODELS
from tests.bedrock.boto import TOOLS, assistant, boto, user
from tests.bedrock.test_emulator_validation import (
    DEEPSEEK,
    GPT_OSS,
    HAIKU,
    LLAMA,
    MISTRAL_7B,
    NOVA,
    OPUS_47,
    POINT,
    SONNET,
    TOOL_USE,
    image,
    refusal,
    result,
)
from tests.emulator import Emulator
from tests.pictures import b64, document_block

NOTHING = "There is nothing available to cache. Please remove the invalid cache point and try again."
DENIED = "AccessDeniedException: You invoked an unsupported model or your request did not allow prompt caching."
AN_HOUR = {"cachePoint": {"type": "default", "ttl": "1h"}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}


def document(form: str) -> dict[str, Any]:
    return {"document": {"format": form, "name": "n", "source": {"bytes": b64(b"notes")}}}


@pytest.mark.parametrize(
    ("model", "content", "reason"),
    [
        (SONNET, ["a", POINT], ""),
        (SONNET, ["a", image(), POINT], ""),
        (SONNET, ["a", document("pdf"), POINT], ""),
        (SONNET, [document("csv"), "a", POINT], ""),
        (SONNET, ["a", POINT, POINT], ""),
        (SONNET, [POINT, "a"], NOTHING),
        (SONNET, ["a", *["b", POINT] * 5], "A maximum of 4 blocks"),
        (SONNET, ["a", *["b", POINT] * 4], ""),
        (SONNET, ["a", POINT, "b", AN_HOUR], "must not come after"),
        *(
            (SONNET, ["a", document(form), POINT], "The model returned the following errors: messages.0.content.2.type")
            for form in ("csv", "doc", "docx", "html", "md", "txt", "xls", "xlsx")
        ),
        (OPUS_47, [document("txt"), POINT, "a"], "messages.0.content.1.type: Field required"),
        (NOVA, ["a", POINT], ""),
        (NOVA, [image(), "a", POINT], ""),
        (NOVA, ["a", image(), POINT], "#/messages/0/content/1: extraneous key [cachePoint] is not permitted"),
        (NOVA, ["a", document("pdf"), POINT], "#/messages/0/content/1: extraneous key [cachePoint] is not permitted"),
        (NOVA, [POINT, "a"], NOTHING),
        *((model, ["a", POINT], DENIED) for model in (LLAMA, MISTRAL_7B, DEEPSEEK, GPT_OSS)),
        ("anthropic.claude-3-haiku-20240307-v1:0", ["a", POINT], DENIED),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", ["a", POINT], DENIED),  # in preview for others
    ],
)
def test_a_point_in_a_question(model: str, content: list[Any], reason: str) -> None:
    message = refusal(user(*content), model=model)
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.parametrize(
    ("model", "messages", "reason"),
    [
        (HAIKU, ["a", assistant(TOOL_USE), user(result(), POINT)], ""),
        (HAIKU, ["a", assistant(TOOL_USE, POINT), user(result())], ""),
        (HAIKU, ["a", assistant("b"), user(POINT)], NOTHING),  # earlier messages do not count
        (HAIKU, ["a", assistant(THOUGHT, POINT, "b"), "c"], "thinking.cache_control: Extra inputs are not permitted"),
        (NOVA, ["a", assistant(TOOL_USE), user(result(), POINT)], "#/messages/2/content/0: extraneous key"),
        (NOVA, ["a", assistant(TOOL_USE, POINT), user(result())], "#/messages/1/content/0: extraneous key"),
    ],
)
def test_a_point_in_the_traffic_of_tools(model: str, messages: list[Any], reason: str) -> None:
    message = refusal(*messages, model=model, toolConfig=TOOLS)
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.parametrize(
    ("model", "fields", "reason"),
    [
        (SONNET, {"system": [{"text": "Be kind."}, POINT]}, ""),
        (SONNET, {"system": [POINT]}, NOTHING),
        (SONNET, {"toolConfig": {"tools": [*TOOLS["tools"], POINT]}}, ""),
        (SONNET, {"toolConfig": {"tools": [POINT, *TOOLS["tools"]]}}, NOTHING),
        (NOVA, {"system": [{"text": "Be kind."}, POINT]}, ""),
        (
            NOVA,
            {"toolConfig": {"tools": [*TOOLS["tools"], POINT]}},
            "#/toolConfig/tools/1: extraneous key [cachePoint]",
        ),
        (LLAMA, {"system": [{"text": "Be kind."}, POINT]}, DENIED),
    ],
)
def test_a_point_beside_tools_and_system_prompt(model: str, fields: dict[str, Any], reason: str) -> None:
    message = refusal("a", model=model, **fields)
    assert reason in message
    assert bool(reason) == bool(message)


def test_boto3_sees_both_refusals(emulator: Emulator) -> None:
    client = boto(emulator)
    with pytest.raises(client.exceptions.ValidationException, match=r"messages\.0\.content\.2\.type"):
        client.converse(modelId=SONNET, messages=[user("a", document_block(), POINT)])
    with pytest.raises(client.exceptions.AccessDeniedException) as caught:
        client.converse(modelId=MODELS["llama3-3-70b-instruct"].bedrock_id, messages=[user("a", POINT)])
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

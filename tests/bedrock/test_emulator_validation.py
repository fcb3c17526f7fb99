"""The emulator refuses what Bedrock refuses, with Bedrock's error code and sentence."""

from typing import Any

import pytest

from bedrock_chat.bedrock.catalog import MODELS, Model, Target
from bedrock_chat.bedrock.emulator import shapes, validation
from bedrock_chat.bedrock.emulator.model_ids import model_of
from bedrock_chat.bedrock.emulator.refusals import Refusal
from bedrock_chat.bedrock.request import Parameters, compose
from bedrock_chat.bedrock.tools import ToolSpec
from tests.bedrock.boto import SONNET, THINKING, TOOLS, assistant, boto, converse, text, user
from tests.emulator import Emulator
from tests.pictures import b64, picture

HAIKU, OPUS_47 = "anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.claude-opus-4-7"
MISTRAL_7B, LLAMA, NOVA = "mistral.mistral-7b-instruct-v0:2", "meta.llama3-3-70b-instruct-v1:0", "amazon.nova-pro-v1:0"
GPT_OSS, DEEPSEEK = "openai.gpt-oss-20b-1:0", "deepseek.r1-v1:0"
POINT = {"cachePoint": {"type": "default"}}
TOOL_USE = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}}


def image(body: bytes | None = None, form: str = "png") -> dict[str, Any]:
    return {"image": {"format": form, "source": {"bytes": b64(body or picture(form))}}}


def document(name: str = "notes", size: int = 9) -> dict[str, Any]:
    return {"document": {"format": "txt", "name": name, "source": {"bytes": b64(b"x" * size)}}}


def result(tool_use_id: str = "t1", **fields: Any) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": tool_use_id, "content": [{"text": "sunny"}], **fields}}


def refusal(*messages: Any, model: str = SONNET, streaming: bool = False, size: int = 0, **fields: Any) -> str:
    """Why Bedrock would refuse the request; empty where it would not. `size` is that of its JSON."""
    body = {"messages": [user(message) if isinstance(message, str) else message for message in messages], **fields}
    try:
        shapes.check("ConverseStream" if streaming else "Converse", body)
        validation.check(body, model_of(model), streaming=streaming, size=size)
    except Refusal as refused:
        return f"{refused.code}: {refused.message}"
    return ""


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "messages field is empty"),
        ([assistant("hi")], "must start with a user message"),
        (["a", "b"], "must alternate"),
        ([user()], "content field in the Message object at messages.0 is empty"),
        ([user(" \n")], "text field in the ContentBlock object at messages.0.content.0 is blank"),
        (["a", assistant(""), "b"], "messages.1.content.0 is blank"),
        (["a", assistant(image())], "image blocks are allowed in user messages only"),
        (["a", assistant(document(), "x")], "document blocks are allowed in user messages only"),
        (["a", assistant("ends in a space ")], "cannot end with trailing whitespace"),
        ([user(*[image()] * 21, "x")], "too many images and documents: 21 + 0 > 20"),
        (
            [user(document(size=4_500_001), "x")],
            "The maximum document size is 4.5 MB. Reduce the size of your document",
        ),
        ([user(document())], "text block must be included with a document"),
        ([user(*[document(f"d{n}") for n in range(6)], "x")], "more than 5 documents"),
        ([user(document(), "x"), assistant("y"), user(document(), "z")], "duplicate document names"),
        ([user(document("notes.txt"), "x")], "document file name can only contain"),
        ([user(document("two  spaces"), "x")], "document file name can only contain"),
        ([user(document("資料"), "x")], "document file name can only contain"),
        ([user(document(""), "x")], "length greater than or equal to 1"),
    ],
)
def test_a_conversation_that_bedrock_refuses(messages: list[Any], reason: str) -> None:
    assert refusal(*messages).startswith("ValidationException")
    assert reason in refusal(*messages)


@pytest.mark.parametrize(
    "messages",
    [
        [user(*[image(picture(weight=3_932_160))] * 2, *[image()] * 18, "x")],
        [user(*[document(f"a (b) [c]-{n}") for n in range(5)], "x")],
        ["a", assistant("b"), "c"],
        ["a", assistant("to be continued")],
    ],
)
def test_a_conversation_at_its_limits_is_taken(messages: list[Any]) -> None:
    assert refusal(*messages) == ""


@pytest.mark.parametrize(
    ("messages", "fields", "reason"),
    [
        (["a", assistant(TOOL_USE), "b"], {"toolConfig": TOOLS}, "Expected toolResult blocks at messages.2.content"),
        (["a", assistant(TOOL_USE)], {"toolConfig": TOOLS}, "Expected toolResult blocks at messages.2.content"),
        (["a", assistant(TOOL_USE), user(result("other"))], {"toolConfig": TOOLS}, "following Ids: t1"),
        ([user(result())], {"toolConfig": TOOLS}, "exceeds the number of toolUse blocks of previous turn"),
        (["a", assistant(TOOL_USE), user(result())], {}, "toolConfig field must be defined"),
        (
            ["a", assistant(TOOL_USE), user(result(content=[], status="error"))],
            {"toolConfig": TOOLS},
            "cannot be empty when status value is error",
        ),
        (["a", assistant(TOOL_USE), user(result())], {"toolConfig": TOOLS}, ""),
    ],
)
def test_a_tool_result_follows_its_tool_use(messages: list[Any], fields: dict[str, Any], reason: str) -> None:
    message = refusal(*messages, **fields)
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"inferenceConfig": {"temperature": 1.5}}, "inferenceConfig.temperature' failed to satisfy constraint"),
        ({"inferenceConfig": {"maxTokens": 0}}, "greater than or equal to 1"),
        ({"inferenceConfig": {"maxTokens": "5"}}, "SerializationException"),
        ({"inferenceConfig": {"colour": "red"}}, "extraneous key [colour]"),
        ({"colour": "red"}, "extraneous key [colour]"),
        ({"modelId": SONNET}, "extraneous key [modelId]"),
        ({"system": [{"text": ""}]}, "length greater than or equal to 1"),
        ({"toolConfig": {"tools": []}}, "length greater than or equal to 1"),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "a b", "inputSchema": {"json": {}}}}]}}, "regular expression"),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "a"}}]}}, "inputSchema' failed"),
        ({"toolConfig": {"tools": [{}]}}, "exactly one of"),
        ({"messages": [{"role": "robot", "content": []}]}, "enum value set: [user, assistant"),
        ({"messages": [{"role": "user", "content": [{"text": "a", **POINT}]}]}, "exactly one of"),
        ({"messages": [user({"image": {"format": "png", "source": {"bytes": "§"}}})]}, "not base64"),
        ({"messages": "hello"}, "messages must be a list"),
    ],
)
def test_a_request_is_held_against_the_service_model(fields: dict[str, Any], reason: str) -> None:
    body = {"messages": [user("hello")], **fields}
    with pytest.raises(Refusal) as caught:
        shapes.check("Converse", body)
    assert reason in str(caught.value)


def test_json_null_is_absence() -> None:
    assert refusal("a", inferenceConfig=None, system=None) == ""


@pytest.mark.parametrize(
    ("model", "fields", "reason"),
    [
        (MISTRAL_7B, {"system": [{"text": "Be kind."}]}, "doesn't support the system field"),
        (MISTRAL_7B, {"toolConfig": TOOLS}, "doesn't support tool use"),
        (LLAMA, {"toolConfig": TOOLS, "streaming": True}, "in streaming mode"),
        (HAIKU, {"inferenceConfig": {"temperature": 1, "topP": 0.9}}, "cannot both be specified"),
        (HAIKU, {"inferenceConfig": {"topP": 0.9}}, ""),
        (OPUS_47, {"inferenceConfig": {"temperature": 0.5}}, "`temperature` is deprecated"),
        (OPUS_47, {"inferenceConfig": {"topP": 0.5}}, "`top_p` is deprecated"),
        (OPUS_47, {"additionalModelRequestFields": {"top_k": 5}}, "`top_k` is deprecated"),
        (GPT_OSS, {"inferenceConfig": {"stopSequences": []}}, "doesn't support the stopSequences field"),
        (LLAMA, {"additionalModelRequestFields": {"top_k": 5}}, "extraneous key [top_k]"),
        (DEEPSEEK, {"additionalModelRequestFields": THINKING}, "extraneous key [thinking]"),
        (SONNET, {"inferenceConfig": {"maxTokens": 10**6}}, "exceeds the model limit"),
        (SONNET, {"system": [{"text": "x" * 4_000_000}]}, "Input is too long"),
    ],
)
def test_what_a_model_refuses(model: str, fields: dict[str, Any], reason: str) -> None:
    message = refusal("a", model=model, **fields)
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"budget_tokens": 1000}, "greater than or equal to 1024"),
        ({"budget_tokens": 4096}, "`max_tokens` must be greater"),
        ({"budget_tokens": None}, "budget_tokens: Field required"),
        ({"type": "adaptive"}, "adaptive thinking is not supported"),
        ({}, ""),
    ],
)
def test_budgets_of_reasoning(fields: dict[str, Any], reason: str) -> None:
    thinking = {"thinking": {**THINKING["thinking"], **fields}}
    message = refusal("a", additionalModelRequestFields=thinking, inferenceConfig={"maxTokens": 4096})
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"inferenceConfig": {"maxTokens": 4096, "temperature": 0.5}}, "`temperature` may only be set to 1"),
        ({"inferenceConfig": {"maxTokens": 4096, "topP": 0.9}}, "`top_p` must be greater"),
        ({"additionalModelRequestFields": {**THINKING, "top_k": 5}}, "`top_k` must be unset"),
        ({"toolConfig": {**TOOLS, "toolChoice": {"any": {}}}}, "forces tool use"),
        ({"inferenceConfig": {"maxTokens": 4096, "temperature": 1.0, "topP": 0.999}}, ""),
    ],
)
def test_what_goes_with_reasoning(fields: dict[str, Any], reason: str) -> None:
    request = {"additionalModelRequestFields": THINKING, "inferenceConfig": {"maxTokens": 4096}, **fields}
    message = refusal("a", **request)
    assert reason in message
    assert bool(reason) == bool(message)


def test_prefills_are_refused_where_the_model_refuses_them() -> None:
    conversation = ("a", assistant("b"))
    assert "does not support assistant message prefill" in refusal(*conversation, model=OPUS_47)
    assert "does not support assistant message prefill" in refusal(*conversation, model=LLAMA)
    thinking = {"additionalModelRequestFields": THINKING, "inferenceConfig": {"maxTokens": 4096}}
    assert "does not support assistant message prefill" in refusal(*conversation, **thinking)
    assert refusal(*conversation) == ""


def test_images_and_documents_are_refused_where_the_model_sees_none() -> None:
    assert "image content block" in refusal(user(image(), "x"), model=LLAMA)
    assert "documents" in refusal(user(document(), "x"), model="amazon.nova-micro-v1:0")


@pytest.mark.parametrize(
    ("model", "reasoning", "reason"),
    [
        (SONNET, {"reasoningText": {"text": "Hm."}}, "messages.1.content.0.thinking.signature: Field required"),
        (SONNET, {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}, ""),
        (SONNET, {"redactedContent": "AAE="}, ""),
        (DEEPSEEK, {"reasoningText": {"text": "Hm."}}, "User messages cannot contain reasoning content"),
        (DEEPSEEK, {"redactedContent": "AAE="}, "User messages cannot contain reasoning content"),
        (NOVA, {"reasoningText": {"text": "Hm."}}, "User messages cannot contain reasoning content"),
        (GPT_OSS, {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}, "reasoningContent.reasoningText.signature"),
        (LLAMA, {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}, "reasoningContent.reasoningText.signature"),
    ],
)
def test_reasoning_goes_back_signed_to_a_model_that_signs_and_to_no_other(
    model: str, reasoning: dict[str, Any], reason: str
) -> None:
    message = refusal("a", assistant({"reasoningContent": reasoning}, "b"), "c", model=model)
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.parametrize(
    ("identifier", "key"),
    [
        (SONNET, "claude-v3.7-sonnet"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude-v3.7-sonnet"),
        (f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}", "claude-v3.7-sonnet"),
        (f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}", "claude-v3.7-sonnet"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", None),
    ],
)
def test_ids_profiles_and_arns_name_a_model(emulator: Emulator, identifier: str, key: str | None) -> None:
    model = model_of(identifier)
    assert (model.key if model else None) == key
    assert text(converse(emulator, "hello", model=identifier)) == "Echo: hello"
    assert emulator.requests()[0]["model"] == identifier


@pytest.mark.parametrize("identifier", ["anthropic.claude-9", "arn:aws:bedrock:us-east-1::foundation-model/nothing"])
def test_an_unknown_model_is_refused(identifier: str) -> None:
    assert refusal("a", model=identifier) == "ValidationException: The provided model identifier is invalid."


def test_boto3_sees_a_validation_exception(emulator: Emulator) -> None:
    client = boto(emulator)
    for ask in (client.converse, client.converse_stream):
        with pytest.raises(client.exceptions.ValidationException) as caught:
            ask(modelId=SONNET, messages=[assistant("hi")])
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert caught.value.response["Error"]["Message"].startswith("A conversation must start with a user message.")


# ---- The requests of this project -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.key)
@pytest.mark.parametrize("reasoning", [False, True])
def test_what_is_composed_for_any_model_is_accepted(emulator: Emulator, model: Model, *, reasoning: bool) -> None:
    tool = ToolSpec("weather", "The weather somewhere.", {"type": "object"})
    parameters = Parameters(max_tokens=10**6, temperature=0.3, top_p=0.5, top_k=7, stop_sequences=("STOP",))
    conversation = [user("hello"), assistant("hi"), user("and?")]
    for chosen in (Parameters(), parameters):
        request = compose(
            model,
            Target(model.bedrock_id, "us-east-1"),
            conversation,
            instruction="Be kind.",
            parameters=chosen,
            tools=[tool],
            reasoning=reasoning,
        )
        client = boto(emulator)
        whole = client.converse(modelId=model.bedrock_id, **request.body)
        assert text(whole) == "Echo: and?"
        if request.streamable:
            events = list(client.converse_stream(modelId=model.bedrock_id, **request.body)["stream"])
            assert text(events) == "Echo: and?"

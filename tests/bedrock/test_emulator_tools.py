"""The emulator asks for tools as models do, badly where a script says so, and refuses what Bedrock refuses of tools."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.bedrock.boto import SONNET, THINKING, TOOLS, assistant, converse, stream, text, user
from tests.bedrock.test_emulator_validation import DEEPSEEK, LLAMA, MISTRAL_7B, NOVA, refusal, result
from tests.emulator import Emulator

ASK = {"toolConfig": TOOLS}
BROKEN = '{"city": "Ber'
FAULTY = f'[[use:{{"name":"weather","raw":{json.dumps(BROKEN)}}}]]'


def use(id_: str = "t1", **fields: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": id_, "name": "weather", "input": {}, **fields}}


def uses(answer: Any) -> list[dict[str, Any]]:
    """The tool uses of an answer, whole or as events; the input of a streamed one is the text of its deltas."""
    if not isinstance(answer, list):
        return [block["toolUse"] for block in answer["output"]["message"]["content"] if "toolUse" in block]
    by_index = dict[int, dict[str, Any]]()
    for event in answer:
        if start := event.get("contentBlockStart"):
            by_index[start["contentBlockIndex"]] = {**start["start"]["toolUse"], "input": ""}
        elif tool_use := (delta := event.get("contentBlockDelta", {})).get("delta", {}).get("toolUse"):
            by_index[delta["contentBlockIndex"]]["input"] += tool_use["input"]
    return list(by_index.values())


# ---- What it asks for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [converse, stream])
def test_tools_are_used_together_again_and_again_until_the_script_ends(emulator: Emulator, ask: Any) -> None:
    prompt = '[[tool:weather:{"city":"Bern"}]][[tool:weather:{"city":"Oslo"}]] [[then]] [[tool:weather]][[say:Hm.]]'
    conversation, inputs = [user(prompt)], []
    while True:
        answer = ask(emulator, *conversation, **ASK)
        tool_uses = [
            use(id_=one["toolUseId"], input=json.loads(one["input"] or "{}"))
            if isinstance(one["input"], str)
            else {"toolUse": one}
            for one in uses(answer)
        ]
        inputs.append([block["toolUse"]["input"] for block in tool_uses])
        if not tool_uses:
            break
        results = [result(block["toolUse"]["toolUseId"]) for block in tool_uses]
        conversation += [assistant(text(answer), *tool_uses), user(*results)]
    assert inputs == [[{"city": "Bern"}, {"city": "Oslo"}], [{}], []]
    assert text(answer) == "The tool said something useful."
    assert conversation[3]["content"][0] == {"text": "Hm."}


def test_a_model_may_use_tools_for_ever(emulator: Emulator) -> None:
    conversation: list[Any] = [user("[[tool:weather]][[again]]")]
    for number in range(1, 6):
        answer = converse(emulator, *conversation, **ASK)
        assert [tool_use["toolUseId"] for tool_use in uses(answer)] == [f"tooluse_fake{number:04}"]
        conversation += [answer["output"]["message"], user(result(f"tooluse_fake{number:04}"))]


def test_an_input_may_be_no_json_or_no_object(emulator: Emulator) -> None:
    assert uses(converse(emulator, FAULTY, **ASK))[0]["input"] == BROKEN
    assert uses(stream(emulator, FAULTY, **ASK))[0]["input"] == BROKEN
    listed = '[[use:{"name":"weather","input":[]}]]'
    assert uses(converse(emulator, listed, **ASK))[0]["input"] == []
    assert uses(stream(emulator, listed, **ASK))[0]["input"] == "[]"


@pytest.mark.parametrize("ask", [converse, stream])
def test_names_and_ids_may_be_illegal_unknown_or_there_twice(emulator: Emulator, ask: Any) -> None:
    prompt = '[[use:{"name":"no such tool!","id":"a b"}]][[use:{"name":"weather","id":"same"}]]' * 2
    answer = ask(emulator, prompt, **ASK)
    assert [(tool_use["name"], tool_use["toolUseId"]) for tool_use in uses(answer)] == [
        ("no such tool!", "a b"),
        ("weather", "same"),
    ] * 2


@pytest.mark.parametrize("ask", [converse, stream])
def test_tools_may_be_used_under_another_stop_reason(emulator: Emulator, ask: Any) -> None:
    answer = ask(emulator, "[[tool:weather]][[stop:end_turn]]", **ASK)
    stop = answer["stopReason"] if isinstance(answer, dict) else answer[-2]["messageStop"]["stopReason"]
    assert (stop, len(uses(answer))) == ("end_turn", 1)


def test_what_a_tool_is_inputs_scripts_no_answer(emulator: Emulator) -> None:
    answer = converse(emulator, '[[tool:weather:{"city":"[[fault:ThrottlingException]]"}]]', **ASK)
    assert uses(answer)[0]["input"] == {"city": "[[fault:ThrottlingException]]"}


def test_tools_come_from_the_control_too(emulator: Emulator) -> None:
    emulator.queue({"tools": [{"name": "weather", "id": "x.y:z", "input": "text"}]})
    assert uses(converse(emulator, "hello", **ASK)) == [{"toolUseId": "x.y:z", "name": "weather", "input": "text"}]


# ---- What it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (["a", assistant(use("t1"), use("t2")), user(result("t2"), result("t1"))], "in the order of the toolUse"),
        (["a", assistant(use("t1"), use("t2")), user(result("t1"))], "following Ids: t2"),
        (["a", assistant(use("t1")), user(result("t1"), result("t1"))], "exceeds the number of toolUse"),
        (["a", assistant(use("t1"), use("t1")), user(result("t1"), result("t1"))], "duplicate Ids"),
        (["a", assistant(use("t1")), user("no result")], "Expected toolResult blocks"),
        (["a", assistant(use("t1")), user(result("t1")), assistant("b"), user(result("t1"))], "exceeds the number"),
        (["a", assistant(use("a b")), user(result("a b"))], "regular expression"),
        (["a", assistant(use("x" * 65)), user(result("x" * 65))], "less than or equal to 64"),
        (["a", assistant(use(name="bad name")), user(result())], "regular expression"),
        (["a", assistant(use(input=[1])), user(result())], "toolUse.input is invalid. Provide a json object"),
        (["a", assistant(use()), user(result(content=[{"json": [1]}]))], "Provide a json object"),
        (["a", assistant(use()), user(result(content=[{"text": " "}]))], "is blank"),
        (["a", assistant(use()), user(result(content=[], status="error"))], "cannot be empty when status"),
        (["a", assistant(use()), user(result(content=[{"json": {}}], status="error"))], ""),
        (["a", assistant(use()), user(result(), "text beside it")], ""),
    ],
)
def test_uses_and_results_are_pairs_in_order(messages: list[Any], reason: str) -> None:
    message = refusal(*messages, **ASK)
    assert reason in message
    assert bool(reason) == bool(message)


def test_claude_looks_for_an_id_in_the_whole_conversation() -> None:
    messages = ["a", assistant(use()), user(result()), assistant(use()), user(result())]
    assert "`tool_use` ids must be unique" in refusal(*messages, **ASK)
    assert refusal(*messages, **ASK, model=NOVA) == ""


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "object", "anyOf": [{}]}, "does not support oneOf, allOf, or anyOf at the top level"),
        ({"oneOf": [{"type": "object"}]}, "does not support oneOf"),
        ({"allOf": [{"type": "object"}], "type": "object"}, "does not support oneOf"),
        ({}, "input_schema.type: Field required"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, "input_schema.type: Field required"),
        ({"type": "array"}, "Input should be 'object'"),
        ({"type": "object", "properties": {"a b": {}}}, "Property keys should match"),
        ({"type": "object", "properties": {"x" * 65: {}}}, "Property keys should match"),
        ({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, ""),
    ],
)
def test_one_bad_schema_and_claude_refuses_the_whole_request(schema: Any, reason: str) -> None:
    specs = [*TOOLS["tools"], {"toolSpec": {"name": "other", "inputSchema": {"json": schema}}}]
    message = refusal("a", toolConfig={"tools": specs})
    assert reason in message
    assert bool(reason) == bool(message)
    assert refusal("a", toolConfig={"tools": specs}, model=NOVA) == ""


def test_a_tools_name_is_there_once() -> None:
    assert "more than one tool of the name weather" in refusal("a", toolConfig={"tools": TOOLS["tools"] * 2})


def test_a_thinking_claude_goes_on_only_behind_what_it_thought_itself() -> None:
    thinking = {"additionalModelRequestFields": THINKING, "inferenceConfig": {"maxTokens": 4096}, **ASK}
    thought = {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}}
    assert "but found `tool_use`" in refusal("a", assistant(use()), user(result()), **thinking)
    assert "but found `text`" in refusal("a", assistant("b", use()), user(result()), **thinking)
    assert refusal("a", assistant(thought, use()), user(result()), **thinking) == ""
    assert refusal("a", assistant(use()), user(result()), **ASK) == ""


def test_only_claude_and_nova_take_a_results_status() -> None:
    messages = ["a", assistant(use()), user(result(status="success"))]
    assert "doesn't support the status field" in refusal(*messages, **ASK, model=LLAMA)
    assert refusal(*messages, **ASK, model=NOVA) == refusal(*messages, **ASK) == ""


def test_old_tool_traffic_is_refused_without_tools_and_by_models_that_have_none() -> None:
    messages = ["a", assistant(use()), user(result()), assistant("b"), "c"]
    assert "toolConfig field must be defined" in refusal(*messages)
    assert "doesn't support tool use" in refusal(*messages, **ASK, model=MISTRAL_7B)
    assert "doesn't support tool use" in refusal(*messages, **ASK, model=DEEPSEEK)
    assert "in streaming mode" in refusal(*messages, **ASK, model=LLAMA, streaming=True)
    assert refusal(*messages, **ASK, model=LLAMA) == ""


def test_text_beside_results_is_refused_on_demand(emulator: Emulator) -> None:
    messages = [user("[[results_alone]]"), assistant(use()), user(result(), "and quickly")]
    with pytest.raises(ClientError, match="cannot be provided in the same turn"):
        converse(emulator, *messages, **ASK)
    emulator.script(results_alone=True)
    with pytest.raises(ClientError, match="cannot be provided in the same turn"):
        converse(emulator, user("hello"), *messages[1:], **ASK)
    assert text(converse(emulator, user("hello"), *messages[1:2], user(result()), **ASK, model=SONNET))

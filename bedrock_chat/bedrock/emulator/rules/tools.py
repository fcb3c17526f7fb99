"""Rules for tools: how they are described, and that each use is answered by one result.

The order of results is what some models look at, and some look for unique ids in the whole conversation, not in one
message. The emulator is as strict as the strictest, but where it is told of a single vendor.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import invalid, refused_by_model
from bedrock_chat.bedrock.emulator.rules.blocks import Blocks, Body, thinking

ANTHROPIC = "anthropic"
TAKE_STATUS = frozenset({ANTHROPIC, "amazon"})
COMBINATORS = ("oneOf", "allOf", "anyOf")
_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


def check(body: Body, model: Model | None) -> None:
    """Raises Refusal."""
    messages = body["messages"]
    _pairs(body)
    _objects(messages)
    _specs(body)
    if model is not None:
        if model.provider == ANTHROPIC:
            _schemas_of_claude(body)
            _unique_ids(messages)
            _thought_before_use(body)
        if model.provider not in TAKE_STATUS:
            _no_status(messages)


def check_alone(messages: Blocks) -> None:
    """Raises Refusal where other blocks stand beside tool results, as some models do."""
    for message in messages:
        content = message["content"]
        results = sum("toolResult" in block for block in content)
        if results and results + sum("cachePoint" in block for block in content) < len(content):
            raise invalid("Conversation blocks and tool use blocks cannot be provided in the same turn.")


def _pairs(body: Body) -> None:
    """Every tool use has a tool result in the next message, in the same order, and there are no more results."""
    messages = body["messages"]
    pending: list[str] = []
    for index, message in enumerate([*messages, {"role": "user", "content": []}]):
        content = message["content"]
        result_ids = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
        if missing := [id_ for id_ in pending if id_ not in result_ids]:
            raise invalid(
                f"Expected toolResult blocks at messages.{index}.content for the following Ids: {', '.join(missing)}"
            )
        if len(result_ids) > len(pending):
            raise invalid(
                f"The number of toolResult blocks at messages.{index}.content exceeds the number of toolUse blocks of "
                "previous turn."
            )
        if result_ids != pending:
            raise invalid(
                f"The toolResult blocks at messages.{index}.content must be in the order of the toolUse blocks of "
                f"previous turn: {', '.join(pending)}"
            )
        pending = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
        if len(set(pending)) < len(pending):
            raise invalid(f"The toolUse blocks at messages.{index}.content contain duplicate Ids: {', '.join(pending)}")
        if (pending or result_ids) and not body.get("toolConfig"):
            raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")


def _objects(messages: Blocks) -> None:
    """Inputs of tools, and results as JSON, are objects."""
    for at, value in _documents(messages):
        if not isinstance(value, dict):
            raise invalid(
                f"The format of the value at {at} is invalid. Provide a json object for the field and try again."
            )


def _documents(messages: Blocks) -> Iterator[tuple[str, Any]]:
    for number, message in enumerate(messages):
        for index, block in enumerate(message["content"]):
            at = f"messages.{number}.content.{index}"
            if "toolUse" in block:
                yield f"{at}.toolUse.input", block["toolUse"]["input"]
            for part, inner in enumerate((block.get("toolResult") or {}).get("content") or ()):
                if "json" in inner:
                    yield f"{at}.toolResult.content.{part}.json", inner["json"]


def _specs(body: Body) -> None:
    names = [spec["name"] for _, spec in _tool_specs(body)]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise invalid(f"The toolConfig.tools field has more than one tool of the name {repeated}.")


def _tool_specs(body: Body) -> Sequence[tuple[int, Mapping[str, Any]]]:
    tools = (body.get("toolConfig") or {}).get("tools") or ()
    return [(index, tool["toolSpec"]) for index, tool in enumerate(tools) if "toolSpec" in tool]


# ---- Single vendors -------------------------------------------------------------------------------------------------


def _schemas_of_claude(body: Body) -> None:
    """One tool whose schema Claude does not take, and the whole request is refused."""
    for index, spec in _tool_specs(body):
        schema = spec["inputSchema"].get("json")
        at = f"tools.{index}.custom.input_schema"
        if not isinstance(schema, dict):
            raise refused_by_model(f"{at}: Input should be a valid dictionary")
        if any(combinator in schema for combinator in COMBINATORS):
            raise refused_by_model(f"{at}: input_schema does not support oneOf, allOf, or anyOf at the top level")
        if "type" not in schema:
            raise refused_by_model(f"{at}.type: Field required")
        if schema["type"] != "object":
            raise refused_by_model(f"{at}.type: Input should be 'object'")
        for name in schema.get("properties") or ():
            if not _PROPERTY.fullmatch(name):
                raise refused_by_model(
                    f"{at}.properties: Property keys should match pattern '^[a-zA-Z0-9_.-]{{1,64}}$'"
                )


def _unique_ids(messages: Blocks) -> None:
    known: set[str] = set()
    for number, message in enumerate(messages):
        for index, block in enumerate(message["content"]):
            if (id_ := (block.get("toolUse") or {}).get("toolUseId")) is None:
                continue
            if id_ in known:
                raise refused_by_model(f"messages.{number}.content.{index}: `tool_use` ids must be unique")
            known.add(id_)


def _thought_before_use(body: Body) -> None:
    """With thinking on, the message whose tool uses are answered now begins with what the model thought."""
    messages = body["messages"]
    if thinking(body).get("type") != "enabled" or len(messages) < 2:
        return
    answered, results = messages[-2], messages[-1]
    if not any("toolResult" in block for block in results["content"]):
        return
    first = answered["content"][0]
    if "reasoningContent" not in first:
        kind = "tool_use" if "toolUse" in first else "text"
        raise refused_by_model(
            f"messages.{len(messages) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{kind}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block "
            "(preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
        )


def _no_status(messages: Blocks) -> None:
    for message in messages:
        for block in message["content"]:
            if "status" in (block.get("toolResult") or {}):
                raise invalid("This model doesn't support the status field. Remove status and try again.")

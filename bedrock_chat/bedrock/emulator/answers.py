"""Builds an answer: content blocks from a request and its script, then a whole response or events from the blocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import orjson

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator import grounding
from bedrock_chat.bedrock.emulator.guardrails import Intervention
from bedrock_chat.bedrock.emulator.script import Script, ToolCall
from bedrock_chat.bedrock.emulator.usage import Usage

ECHOED = 60  # characters of the question
AMPLE = 10**6  # tokens, where a request says nothing of them
SENTENCE = "the quick brown fox jumps over the lazy dog and".split()  # noqa: SIM905  it is a sentence
THOUGHT = "Thinking about it step by step."
SIGNATURE = "c2lnbmF0dXJl"
REDACTED = "cmVkYWN0ZWQ="
BLOCKED = "Sorry, I can't talk about that."

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The parts of a conversation that decide the answer.

    `question` is the last user text, or what of it is marked for a guardrail. `round` is the number of messages with
    tool results after it; a continuation counts as one more. `kinds` are the kinds of blocks in the last user message.
    """

    question: str
    round: int
    continues: bool
    kinds: frozenset[str]
    tool_uses: int

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]]) -> "Prompt":
        continues = messages[-1]["role"] == "assistant"
        round_, kinds, question = int(continues), frozenset[str](), ""
        for message in reversed(messages):
            if message["role"] != "user":
                continue
            content = message["content"]
            kinds = kinds or frozenset(name for block in content for name in block)
            marked = grounding.question_of(content)
            texts = [block["text"] for block in content if "text" in block] if marked is None else [marked]
            if any("toolResult" in block for block in content):
                round_ += 1
            else:
                question = texts[-1] if texts else ""
                break
        uses = sum("toolUse" in block for message in messages for block in message["content"])
        return cls(question, round_, continues, kinds, uses)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `words` is set if the script sets the answer's length: then each word is a delta and a token.

    `thought` are the tokens that were spent on thinking, as far as the script says so.
    """

    blocks: tuple[Block, ...]
    stop: str
    words: int | None = None
    thought: int = 0
    trace: dict[str, Any] | None = None


def answer(script: Script, prompt: Prompt, body: Mapping[str, Any], model: Model | None) -> Answer:
    """The answer to a request: reasoning, then text, then tool uses.

    Tools are used only if the request offers any. `words` replaces the text, and is cut at the request's `maxTokens`. A
    guardrail replaces the text and the tool uses. The script's own stop reason replaces the usual one.

    What a model thinks counts against `maxTokens`: where it leaves nothing, the answer ends before it has begun.
    """
    blocks = _reasoning(script, body, model)
    thought = _thought(script, body, model)
    room = (body.get("inferenceConfig") or {}).get("maxTokens") or AMPLE
    if thought >= room:
        return Answer(tuple(blocks), "max_tokens", thought=room)
    room -= thought
    tools = script.tools if body.get("toolConfig") else ()
    text, stop = _text(script, prompt, called=bool(tools)), "end_turn"
    words = None
    if script.words is not None:
        words = min(script.words, room)
        text = " ".join(islice(cycle(SENTENCE), words))
        stop = "max_tokens" if words < script.words else stop
    if text:
        blocks.append({"text": text})
    if tools and not script.guardrail:
        stop = "tool_use"
        blocks += (_tool_use(call, number) for number, call in enumerate(tools, prompt.tool_uses + 1))
    trace = None
    if script.guardrail:
        stop, trace = "guardrail_intervened", _guardrail_trace(body)
    return Answer(tuple(blocks), script.stop or stop, words, thought, trace)


def intervened(intervention: Intervention) -> Answer:
    """What stands in the place of an answer that a guardrail has blocked."""
    return Answer(({"text": intervention.text},), "guardrail_intervened", trace=intervention.trace)


def _tool_use(call: ToolCall, number: int) -> Block:
    id_ = f"tooluse_fake{number:04}" if call.id is None else call.id
    tool_input = call.input if call.raw is None else _Raw(call.raw)
    return {"toolUse": {"toolUseId": id_, "name": call.name, "input": tool_input}}


class _Raw(str):
    """What a model wrote in the place of an input: a stream carries it as it is, a whole answer as a text."""

    __slots__ = ()


def _text(script: Script, prompt: Prompt, *, called: bool) -> str:
    if script.guardrail:
        return BLOCKED
    if script.text is not None:
        return script.text
    if called:
        return "Let me look that up."
    if prompt.continues:
        return " ...and the rest."
    if prompt.round:
        return "The tool said something useful."
    if "image" in prompt.kinds:
        return "I see an image."
    if "document" in prompt.kinds:
        return "I see a document."
    return f"Echo: {prompt.question[:ECHOED]}"


def _thought(script: Script, body: Mapping[str, Any], model: Model | None) -> int:
    """The tokens spent on thinking: none by a model that does not think, and at most the budget where there is one."""
    thinking = (body.get("additionalModelRequestFields") or {}).get("thinking") or {}
    always = model is not None and model.reasoning.mode == "always-on"
    if not always and thinking.get("type") not in ("enabled", "adaptive"):
        return 0
    return min(script.thinks, thinking.get("budget_tokens") or script.thinks)


def _reasoning(script: Script, body: Mapping[str, Any], model: Model | None) -> list[Block]:
    thinking = (body.get("additionalModelRequestFields") or {}).get("thinking") or {}
    blocks: list[Block] = []
    if script.reasoning or thinking.get("type") in ("enabled", "adaptive"):
        thought: Block = {"text": "" if _is_hidden(thinking, model) else THOUGHT}
        if model is None or model.reasoning.signed or model.reasoning.mode == "none":
            thought["signature"] = SIGNATURE
        blocks.append({"reasoningContent": {"reasoningText": thought}})
    if script.redacted:
        blocks.append({"reasoningContent": {"redactedContent": REDACTED}})
    return blocks


def _is_hidden(thinking: Mapping[str, Any], model: Model | None) -> bool:
    """Whether the text of the thoughts is left out: some models send it only if the request asks for it."""
    required = ((model.reasoning.fields if model else None) or {}).get("thinking", {}).get("display")
    return bool(required) and bool(thinking) and thinking.get("display") != required


def _guardrail_trace(body: Mapping[str, Any]) -> dict[str, Any] | None:
    config = body.get("guardrailConfig") or {}
    if not str(config.get("trace", "disabled")).startswith("enabled"):
        return None
    topic = {"name": "Forbidden topic", "type": "DENY", "action": "BLOCKED"}
    assessment = {config["guardrailIdentifier"]: {"topicPolicy": {"topics": [topic]}}}
    return {"guardrail": {"inputAssessment": assessment, "actionReason": "Guardrail blocked."}}


# ---- On the wire ----------------------------------------------------------------------------------------------------


def response(result: Answer, usage: Usage, latency_ms: int) -> dict[str, Any]:
    """The body of Converse's answer."""
    fields: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": list(result.blocks)}},
        "stopReason": result.stop,
        "usage": usage.wire(),
        "metrics": {"latencyMs": latency_ms},
    }
    return fields | ({"trace": result.trace} if result.trace else {})


Event = tuple[str, dict[str, Any]]


def events(result: Answer, usage: Usage, latency_ms: int) -> Iterator[Event]:
    """ConverseStream's events in order. Only a tool use has a start event; other blocks begin with a delta."""
    yield "messageStart", {"role": "assistant"}
    for index, block in enumerate(result.blocks):
        at = {"contentBlockIndex": index}
        if use := block.get("toolUse"):
            start = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
            yield "contentBlockStart", at | {"start": start}
        for delta in _deltas(block, by_words=result.words is not None):
            yield "contentBlockDelta", at | {"delta": delta}
        yield "contentBlockStop", at
    yield "messageStop", {"stopReason": result.stop}
    metadata: dict[str, Any] = {"usage": usage.wire(), "metrics": {"latencyMs": latency_ms}}
    yield "metadata", metadata | ({"trace": result.trace} if result.trace else {})


def _deltas(block: Block, *, by_words: bool) -> Iterator[dict[str, Any]]:
    if (text := block.get("text")) is not None:
        for piece in _words(text) if by_words else pieces(text):
            yield {"text": piece}
    elif use := block.get("toolUse"):
        tool_input = use["input"]
        if isinstance(tool_input, _Raw):
            encoded = str(tool_input)
        else:
            encoded = "" if tool_input == {} else orjson.dumps(tool_input).decode()  # {} is sent as no delta at all
        for piece in pieces(encoded):
            yield {"toolUse": {"input": piece}}
    elif thought := block["reasoningContent"].get("reasoningText"):
        half = len(thought["text"]) // 2
        for piece in (thought["text"][:half], thought["text"][half:]):
            if piece:
                yield {"reasoningContent": {"text": piece}}
        if "signature" in thought:
            yield {"reasoningContent": {"signature": thought["signature"]}}
    else:
        yield {"reasoningContent": block["reasoningContent"]}


def pieces(text: str) -> Iterator[str]:
    """A text in three or four deltas."""
    size = max(1, len(text) // 3)
    return (text[start : start + size] for start in range(0, len(text), size))


def _words(text: str) -> Iterator[str]:
    first, *others = text.split(" ")
    yield first
    yield from (f" {word}" for word in others)

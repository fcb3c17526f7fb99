"""Composes requests to Bedrock, without side effects. A request leaves out whatever the model would refuse."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_chat.bedrock import offering
from bedrock_chat.bedrock.catalog import Model, Target
from bedrock_chat.bedrock.shapes import ConverseBlock, ConverseMessage
from bedrock_chat.bedrock.tools import ToolSpec

Content = list[ConverseBlock]
CACHE_POINT: ConverseBlock = {"cachePoint": {"type": "default"}}
MARKED_QUESTIONS = 2  # with the marks on system and tools that makes four, as many as Bedrock accepts
BESIDE_A_DOCUMENT: ConverseBlock = {"text": "See the attached document."}  # Bedrock requires text beside a document
MOST_DOCUMENTS = 5  # in the whole request
IN_PLACE_OF_A_DOCUMENT: ConverseBlock = {"text": "(A document that was attached here is no longer sent.)"}
LOWEST_REASONING_TOP_P = 0.95


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters that were chosen. None stands for the model's default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: tuple[str, ...] | None = None
    reasoning_budget: int | None = None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A call to be made. `body` holds Converse's keyword arguments without `modelId`.

    If it is not `streamable`, the whole answer is fetched with Converse, even for a client that listens to a stream.
    """

    model: Model
    target: Target
    body: dict[str, Any]
    streamable: bool = True


NO_PARAMETERS = Parameters()


def compose(
    model: Model,
    target: Target,
    messages: Sequence[ConverseMessage],
    *,
    instruction: str = "",
    parameters: Parameters = NO_PARAMETERS,
    tools: Sequence[ToolSpec] = (),
    reasoning: bool = False,
    prompt_caching: bool = True,
) -> ModelRequest:
    """The request for `messages`, whose attachments already hold their bytes.

    Raises BadRequest for images or documents that the model cannot read. `reasoning` is ignored if the model cannot
    think, or always thinks. Messages that need no change are not copied, because a conversation may have a thousand
    turns.
    """
    thinks = reasoning and model.reasoning.fields is not None
    marks = model.caching.targets if prompt_caching and model.caching.max_checkpoints else frozenset()
    adapted = _messages(model, messages)
    body: dict[str, Any] = {}
    if model.system_prompt is False:
        adapted = _with_instruction(instruction, adapted) if instruction else adapted
    else:
        body["system"] = _system(instruction, marked="system" in marks)
    if "messages" in marks:
        adapted = _marked(adapted)
    config, additional = _parameters(model, parameters, thinks=thinks)
    body |= {"messages": adapted, "inferenceConfig": config}
    if additional:
        body["additionalModelRequestFields"] = additional
    sends_tools = bool(tools) and model.tools is not False
    if sends_tools:
        body["toolConfig"] = _tool_config(tools, marked="tools" in marks)
    return ModelRequest(model, target, body, streamable=not (sends_tools and model.tools_while_streaming is False))


# ---- Messages -------------------------------------------------------------------------------------------------------


def _messages(model: Model, messages: Sequence[ConverseMessage]) -> list[ConverseMessage]:
    """The messages as this model accepts them, without reasoning that it did not sign and without documents' names.

    A conversation may contain more documents than a request may hold. The newest documents are sent, and a note in
    place of each older one.
    """
    documents = sum("document" in block for message in messages for block in message["content"])
    numbers = itertools.count(min(0, MOST_DOCUMENTS - documents) + 1)
    return [
        _question(model, message, numbers) if message["role"] == "user" else _answer(model, message)
        for message in messages
    ]


def _question(model: Model, message: ConverseMessage, numbers: Iterator[int]) -> ConverseMessage:
    content = message["content"]
    has_image = any("image" in block for block in content)
    has_document = any("document" in block for block in content)
    offering.refuse_unreadable(model, images=has_image, documents=has_document)
    if not has_document:
        return message
    named = [_document(block["document"], next(numbers)) if "document" in block else block for block in content]
    if not any("text" in block for block in content):
        named.append(BESIDE_A_DOCUMENT)
    return {"role": "user", "content": named}


def _document(document: Mapping[str, Any], number: int) -> ConverseBlock:
    """The document under a neutral name, or a note in its place: documents to be sent have numbers from 1.

    The client's name for it is not sent, because it could inject a prompt, and Bedrock limits its alphabet.
    """
    return {"document": {**document, "name": f"document {number}"}} if number > 0 else IN_PLACE_OF_A_DOCUMENT


def _answer(model: Model, message: ConverseMessage) -> ConverseMessage:
    content = message["content"]
    if not any("reasoningContent" in block for block in content):
        return message
    kept = [block for block in content if "reasoningContent" not in block or _is_kept(model, block["reasoningContent"])]
    return {"role": "assistant", "content": kept}


def _is_kept(model: Model, reasoning: Mapping[str, Any]) -> bool:
    if not model.reasoning.signed:
        return False
    return "redactedContent" in reasoning or bool(reasoning.get("reasoningText", {}).get("signature"))


def _with_instruction(instruction: str, messages: list[ConverseMessage]) -> list[ConverseMessage]:
    """The messages with the instruction before the first question, for models that refuse system prompts."""
    first, *rest = messages
    return [{"role": first["role"], "content": [{"text": instruction}, *first["content"]]}, *rest]


def _marked(messages: list[ConverseMessage]) -> list[ConverseMessage]:
    """The messages with cache points after the last two questions.

    Tool results get none, because the rounds of a turn follow each other too fast.
    """
    marked, remaining = list(messages), MARKED_QUESTIONS
    for index in range(len(marked) - 1, -1, -1):
        message = marked[index]
        if message["role"] == "user" and not any("toolResult" in block for block in message["content"]):
            marked[index] = {"role": "user", "content": [*message["content"], CACHE_POINT]}
            remaining -= 1
            if not remaining:
                break
    return marked


def _system(instruction: str, *, marked: bool) -> list[ConverseBlock]:
    if not instruction:
        return []
    return [{"text": instruction}, CACHE_POINT] if marked else [{"text": instruction}]


def _tool_config(tools: Sequence[ToolSpec], *, marked: bool) -> dict[str, Any]:
    config: list[Any] = [
        {"toolSpec": {"name": tool.name, "description": tool.description, "inputSchema": {"json": dict(tool.schema)}}}
        for tool in tools
    ]
    if marked:
        config.append(CACHE_POINT)
    return {"tools": config, "toolChoice": {"auto": {}}}


# ---- Parameters -----------------------------------------------------------------------------------------------------


def _parameters(model: Model, chosen: Parameters, *, thinks: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """`inferenceConfig` and `additionalModelRequestFields`: the chosen parameters, else the model's defaults."""
    max_tokens = _at_most(chosen.max_tokens or model.defaults.max_tokens, model.max_output_tokens)
    additional: dict[str, Any] = {}
    if thinks:
        max_tokens, additional = _thinking(model, chosen, max_tokens)
    config: dict[str, Any] = {"maxTokens": max_tokens, **_sampling(model, chosen, thinks=thinks)}
    stops = chosen.stop_sequences if chosen.stop_sequences is not None else model.defaults.stop_sequences
    if stops is not None and model.stop_sequences:
        config["stopSequences"] = list(stops)
    top_k = chosen.top_k if chosen.top_k is not None else model.defaults.top_k
    if top_k is not None and model.top_k_path and not (thinks and "reasoning-no-topK" in model.restrictions):
        _put(additional, model.top_k_path, top_k)
    return config, additional


def _sampling(model: Model, chosen: Parameters, *, thinks: bool) -> dict[str, Any]:
    """`temperature` and `topP`: the chosen values, else the defaults, as the model's restrictions allow them."""
    temperature = chosen.temperature if chosen.temperature is not None else model.defaults.temperature
    top_p = chosen.top_p if chosen.top_p is not None else model.defaults.top_p
    if "temperature-or-topP" in model.restrictions:
        # Only one of the two may be sent: topP if it was chosen alone and the model does not think, else temperature.
        if chosen.top_p is not None and chosen.temperature is None and not thinks:
            temperature = None
        else:
            top_p = None
    if thinks and "reasoning-temperature-1" in model.restrictions:
        temperature = 1.0
    if thinks and top_p is not None and "reasoning-topP-095-to-1" in model.restrictions:
        top_p = max(LOWEST_REASONING_TOP_P, top_p)
    sampling = {}
    if temperature is not None and model.temperature:
        sampling["temperature"] = temperature
    if top_p is not None and model.top_p:
        sampling["topP"] = top_p
    return sampling


def _thinking(model: Model, chosen: Parameters, max_tokens: int) -> tuple[int, dict[str, Any]]:
    """`maxTokens` and the fields that switch reasoning on.

    Thinking must not use up the tokens of the answer. So if the budget is not below `maxTokens`, `maxTokens` grows by
    the budget, up to the model's limit.
    """
    fields = model.reasoning.fields or {}
    if model.reasoning.mode != "budgetTokens":
        return max_tokens, {name: dict(value) for name, value in fields.items()}
    budget = max(chosen.reasoning_budget or model.reasoning.default_budget, model.reasoning.min_budget)
    if budget >= max_tokens:
        max_tokens = _at_most(budget + max_tokens, model.max_output_tokens)
        budget = min(budget, max_tokens - 1)
    return max_tokens, {"thinking": {**fields["thinking"], "budget_tokens": budget}}


def _at_most(tokens: int, limit: int | None) -> int:
    """At most as many tokens as the model can write, because Bedrock refuses more. A higher choice means "the most"."""
    return tokens if limit is None else min(tokens, limit)


def _put(fields: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Sets a value in nested dictionaries, and creates the missing ones."""
    *outer, last = path
    for name in outer:
        fields = fields.setdefault(name, {})
    fields[last] = value

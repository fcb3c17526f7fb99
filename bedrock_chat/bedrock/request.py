"""Composes requests to Bedrock, without side effects. A request leaves out whatever the model would refuse."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from django.conf import settings

from bedrock_chat.bedrock import attachments, offering
from bedrock_chat.bedrock.catalog import Model, Target
from bedrock_chat.bedrock.shapes import ConverseBlock, ConverseMessage, kind_of
from bedrock_chat.bedrock.tools import ToolSpec

Content = list[ConverseBlock]
CACHE_POINT: ConverseBlock = {"cachePoint": {"type": "default"}}
MARKED_QUESTIONS = 2  # with the marks on system and tools that makes four, as many as Bedrock accepts
BESIDE_A_DOCUMENT: ConverseBlock = {"text": "See the attached document."}  # Bedrock requires text beside a document
IN_PLACE_OF_A_DOCUMENT: ConverseBlock = {"text": "(A document that was attached here is no longer sent.)"}
IN_PLACE_OF_AN_IMAGE: ConverseBlock = {"text": "(An image that was attached here is no longer sent.)"}
IN_PLACE_OF_A_BLOCKED_QUESTION: ConverseBlock = {"text": "(A message that a guardrail has blocked is not sent again.)"}
NO_ANSWER: ConverseBlock = {"text": "(no answer)"}
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
class Guardrail:
    """A guardrail of Bedrock, by its id or ARN, and the version of it that judges."""

    identifier: str
    version: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A call to be made. `body` holds Converse's keyword arguments without `modelId`.

    If it is not `streamable`, the whole answer is fetched with Converse, even for a client that listens to a stream.
    """

    model: Model
    target: Target
    body: dict[str, Any]
    streamable: bool = True

    @property
    def guardrail(self) -> Guardrail | None:
        config = self.body.get("guardrailConfig")
        return Guardrail(config["guardrailIdentifier"], config["guardrailVersion"]) if config else None

    def without_cache_points(self) -> "ModelRequest":
        """The same request without cache points, for an account whose prompts Bedrock does not cache."""
        body = dict(self.body)
        body["messages"] = [{**message, "content": _unmarked(message["content"])} for message in body["messages"]]
        if "system" in body:
            body["system"] = _unmarked(body["system"])
        if "toolConfig" in body:
            body["toolConfig"] = {**body["toolConfig"], "tools": _unmarked(body["toolConfig"]["tools"])}
        return replace(self, body=body)

    @property
    def has_cache_points(self) -> bool:
        """Whether it asks Bedrock to cache anything."""
        contents = [message["content"] for message in self.body["messages"]]
        parts = [self.body.get("system", ()), self.body.get("toolConfig", {}).get("tools", ()), *contents]
        return any("cachePoint" in block for part in parts for block in part)


def _unmarked(blocks: Sequence[Any]) -> list[Any]:
    return [block for block in blocks if "cachePoint" not in block]


NO_PARAMETERS = Parameters()


def compose(
    model: Model,
    target: Target,
    messages: Sequence[ConverseMessage],
    *,
    instruction: str = "",
    further_instructions: Sequence[str] = (),
    parameters: Parameters = NO_PARAMETERS,
    tools: Sequence[ToolSpec] = (),
    reasoning: bool = False,
    prompt_caching: bool = True,
    guardrail: Guardrail | None = None,
) -> ModelRequest:
    """The request for `messages`, whose attachments already hold their bytes.

    The further instructions follow the instruction, each as a block of its own.

    Raises BadRequest for images or documents that the model cannot read, or that are too many or too large in the
    question that is asked; older ones give way to a note. Reasoning in `messages` must be this model's own.
    `reasoning` is ignored if the model cannot think, or always thinks, and where it goes on behind a round of tools
    that it did not think about: Bedrock refuses that. Messages that need no change are not copied, because a
    conversation may have a thousand turns.
    """
    marks = model.caching.targets if prompt_caching else frozenset()
    instructions = [text for text in (instruction, *further_instructions) if text]
    adapted = _messages(model, messages, instructions, tools)
    thinks = reasoning and model.reasoning.fields is not None and not _goes_on_unthought(model, adapted)
    body: dict[str, Any] = {}
    if model.system_prompt is False:
        adapted = _with_instructions(instructions, adapted) if instructions else adapted
    else:
        body["system"] = _system(instructions, marked="system" in marks)
    if "messages" in marks:
        adapted = _marked(model, adapted)
    config, additional = _parameters(model, parameters, thinks=thinks)
    body |= {"messages": adapted, "inferenceConfig": config}
    if additional:
        body["additionalModelRequestFields"] = additional
    if guardrail is not None:
        # Without a mode a stream is judged before it is sent; no text gets out that is blocked afterwards.
        names = {"guardrailIdentifier": guardrail.identifier, "guardrailVersion": guardrail.version}
        body["guardrailConfig"] = names | {"trace": "enabled"}
    sends_tools = bool(tools) and model.tools is not False
    if sends_tools:
        body["toolConfig"] = _tool_config(tools, marked="tools" in marks)
    return ModelRequest(model, target, body, streamable=not (sends_tools and model.tools_while_streaming is False))


def continued(model_request: ModelRequest, rounds: Sequence[ConverseMessage]) -> ModelRequest:
    """The same request, and the rounds that the model has had since: its tool uses, and their results.

    What was composed is taken as it is, so a round costs what it adds. Where the model continues an answer, that and
    its first round are one message.
    """
    if not rounds:
        return model_request
    messages: list[ConverseMessage] = model_request.body["messages"]
    added = [message if message["role"] == "user" else _answer(model_request.model, message) for message in rounds]
    if messages[-1]["role"] == "assistant":
        *earlier, begun = messages
        first = ConverseMessage(role="assistant", content=[*begun["content"], *added[0]["content"]])
        messages, added = earlier, [first, *added[1:]]
    return replace(model_request, body={**model_request.body, "messages": [*messages, *added]})


# ---- Messages -------------------------------------------------------------------------------------------------------


def _messages(
    model: Model, messages: Sequence[ConverseMessage], instructions: Sequence[str], tools: Sequence[ToolSpec]
) -> list[ConverseMessage]:
    """The messages as this model accepts them, without unsigned reasoning and without documents' names.

    A conversation may contain more files than a request may hold: `attachments.sent` chooses, and a note stands in the
    place of each other one.
    """
    files = attachments.of_messages(messages)
    if not files:
        return [message if message["role"] == "user" else _answer(model, message) for message in messages]
    offering.refuse_unreadable(
        model,
        images=any("image" in block for message in messages for block in message["content"]),
        documents=any("document" in block for message in messages for block in message["content"]),
    )
    others = attachments.bytes_beside(model, files, [instructions, [tool.schema for tool in tools], messages])
    attachments.refuse_excess(model, [file for file in files if file.in_question], others)
    is_sent, numbers = iter(attachments.sent(model, files, others)), itertools.count(1)
    return [
        _question(message, is_sent, numbers) if message["role"] == "user" else _answer(model, message)
        for message in messages
    ]


def _question(message: ConverseMessage, is_sent: Iterator[bool], numbers: Iterator[int]) -> ConverseMessage:
    """A user's message with what is sent of its files, text beside its documents, and its files before its text."""
    content = message["content"]
    if not any("image" in block or "document" in block or "toolResult" in block for block in content):
        return message
    adapted = [_sendable(block, is_sent, numbers) for block in content]
    if any("document" in block for block in adapted) and not any("text" in block for block in adapted):
        adapted.append(BESIDE_A_DOCUMENT)
    return {"role": "user", "content": _files_first(adapted)}


def _sendable(block: ConverseBlock, is_sent: Iterator[bool], numbers: Iterator[int]) -> ConverseBlock:
    """A block, or a note in its place where it is a file that is not sent.

    A document gets a neutral name. The client's name for it is not sent, because it could inject a prompt, and Bedrock
    limits its alphabet.
    """
    if "image" in block:
        return block if next(is_sent) else IN_PLACE_OF_AN_IMAGE
    if "document" in block:
        if not next(is_sent):
            return IN_PLACE_OF_A_DOCUMENT
        return {"document": {**block["document"], "name": f"document {next(numbers)}"}}
    if "toolResult" in block:
        parts = [_sendable(cast(ConverseBlock, part), is_sent, numbers) for part in block["toolResult"]["content"]]
        return {"toolResult": {**block["toolResult"], "content": parts}}
    return block


def _files_first(content: list[ConverseBlock]) -> list[ConverseBlock]:
    """The blocks with the files before everything else, if a file stands last; else as they are.

    Every family takes a cache point directly behind text, and not every family behind an image or a document.
    """
    if "image" not in content[-1] and "document" not in content[-1]:
        return content
    files = [block for block in content if "image" in block or "document" in block]
    return files + [block for block in content if "image" not in block and "document" not in block]


def _answer(model: Model, message: ConverseMessage) -> ConverseMessage:
    """An answer with the reasoning that goes back, and never without any block, since Bedrock refuses that."""
    content = message["content"]
    if not any("reasoningContent" in block for block in content):
        return message
    kept = [block for block in content if "reasoningContent" not in block or _is_kept(model, block["reasoningContent"])]
    return {"role": "assistant", "content": kept or [NO_ANSWER]}


def _is_kept(model: Model, reasoning: Mapping[str, Any]) -> bool:
    """Whether reasoning goes back: signed one to a model that signs. Bedrock refuses all other."""
    if not model.reasoning.signed:
        return False
    return "redactedContent" in reasoning or bool(reasoning.get("reasoningText", {}).get("signature"))


def _goes_on_unthought(model: Model, messages: Sequence[ConverseMessage]) -> bool:
    """Whether results are the last message, and the answer that asked for them does not begin with reasoning."""
    if not model.reasoning.signed or len(messages) < 2:
        return False
    answer, results = messages[-2]["content"], messages[-1]["content"]
    return any("toolResult" in block for block in results) and "reasoningContent" not in answer[0]


def _with_instructions(instructions: Sequence[str], messages: list[ConverseMessage]) -> list[ConverseMessage]:
    """The messages with the instructions before the first question, for models that refuse system prompts."""
    first, *rest = messages
    blocks: Content = [{"text": text} for text in instructions]
    return [{"role": first["role"], "content": [*blocks, *first["content"]]}, *rest]


def _marked(model: Model, messages: list[ConverseMessage]) -> list[ConverseMessage]:
    """The messages with cache points in the last two questions.

    A point stands behind the last block of a kind behind which this model takes one. A question without such a block
    gets none. Tool results get none either, because the rounds of a turn follow each other too fast.
    """
    marked, remaining = list(messages), MARKED_QUESTIONS
    for index in range(len(marked) - 1, -1, -1):
        content = marked[index]["content"]
        if marked[index]["role"] != "user" or any("toolResult" in block for block in content):
            continue
        for place in range(len(content), 0, -1):
            if kind_of(content[place - 1]) in model.caching.behind:
                marked[index] = {"role": "user", "content": [*content[:place], CACHE_POINT, *content[place:]]}
                remaining -= 1
                break
        if not remaining:
            break
    return marked


def _system(instructions: Sequence[str], *, marked: bool) -> list[ConverseBlock]:
    blocks: Content = [{"text": text} for text in instructions]
    return [*blocks, CACHE_POINT] if blocks and marked else blocks


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
    allowance = _at_most(chosen.max_tokens or model.defaults.max_tokens, model.max_output_tokens)
    room, additional = _thinking(model, chosen, allowance, thinks=thinks)
    max_tokens = _at_most(allowance + room, model.max_output_tokens)
    config: dict[str, Any] = {"maxTokens": max_tokens, **_sampling(model, chosen, thinks=thinks)}
    stops = chosen.stop_sequences if chosen.stop_sequences is not None else model.defaults.stop_sequences
    most_stops = model.most_stop_sequences
    if stops is not None and model.stop_sequences and (most_stops is None or len(stops) <= most_stops):
        config["stopSequences"] = list(stops)
    top_k = chosen.top_k if chosen.top_k is not None else model.defaults.top_k
    takes_top_k = model.top_k_path and not (thinks and "reasoning-no-topK" in model.restrictions)
    if top_k is not None and takes_top_k and model.top_k_path and model.ranges["topK"].holds(top_k):
        _put(additional, model.top_k_path, top_k)
    return config, additional


def most_output_tokens(model: Model, chosen: Parameters, *, thinks: bool = False) -> int:
    """The `maxTokens` of a request, which bounds what its answer costs. `thinks` is ignored as `compose` ignores it."""
    config, _ = _parameters(model, chosen, thinks=thinks and model.reasoning.fields is not None)
    return int(config["maxTokens"])


def left_out(model: Model, chosen: Parameters, *, thinks: bool = False) -> list[str]:
    """The wire's names of those chosen parameters that a request to this model does not have as they were chosen.

    `thinks` is ignored as `compose` ignores `reasoning`.
    """
    thinks = thinks and model.reasoning.fields is not None
    config, additional = _parameters(model, chosen, thinks=thinks)
    top_k: Any = additional
    for name in model.top_k_path or ("top_k",):
        top_k = top_k.get(name, {})
    sent = {
        "maxTokens": (chosen.max_tokens, _at_most(chosen.max_tokens or 0, model.max_output_tokens)),
        "temperature": (chosen.temperature, config.get("temperature")),
        "topP": (chosen.top_p, config.get("topP")),
        "topK": (chosen.top_k, top_k),
        "stopSequences": (chosen.stop_sequences or None, tuple(config.get("stopSequences", ()))),
    }
    if thinks:
        sent["budgetTokens"] = (chosen.reasoning_budget, additional.get("thinking", {}).get("budget_tokens"))
    return [name for name, (wanted, has) in sent.items() if wanted is not None and wanted != has]


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
    if temperature is not None and model.temperature and model.ranges["temperature"].holds(temperature):
        sampling["temperature"] = temperature
    if top_p is not None and model.top_p and model.ranges["topP"].holds(top_p):
        sampling["topP"] = top_p
    return sampling


def _thinking(model: Model, chosen: Parameters, allowance: int, *, thinks: bool) -> tuple[int, dict[str, Any]]:
    """The tokens to add to `maxTokens` for thinking, and the fields that switch it on.

    Bedrock counts thinking as output, so without room of its own long thinking would leave no answer. A budget that
    does not fit beside the answer's `allowance` is cut, so that the answer keeps it. Where a model decides itself how
    long it thinks, the room is the setting `THINKING_TOKENS`.
    """
    fields = model.reasoning.fields or {}
    match model.reasoning.mode:
        case "always-on":
            return settings.THINKING_TOKENS, {}
        case "budgetTokens" if thinks:
            budget = chosen.reasoning_budget or model.reasoning.default_budget
            if model.max_output_tokens is not None:
                budget = min(budget, model.max_output_tokens - allowance)
            budget = max(budget, model.reasoning.min_budget)
            return budget, {"thinking": {**fields["thinking"], "budget_tokens": budget}}
        case _ if thinks:
            return settings.THINKING_TOKENS, {name: dict(value) for name, value in fields.items()}
    return 0, {}


def _at_most(tokens: int, limit: int | None) -> int:
    """At most as many tokens as the model can write, because Bedrock refuses more. A higher choice means "the most"."""
    return tokens if limit is None else min(tokens, limit)


def _put(fields: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Sets a value in nested dictionaries, and creates the missing ones."""
    *outer, last = path
    for name in outer:
        fields = fields.setdefault(name, {})
    fields[last] = value

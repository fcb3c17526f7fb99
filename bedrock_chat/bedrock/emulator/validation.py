"""Checks Bedrock's limits on a conversation and a model's own restrictions. Refuses in Bedrock's words, if known.

Sources: the service model's text on `Message`, the Bedrock User Guide, and error messages quoted in public reports.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid, refused_by_model
from bedrock_chat.bedrock.emulator.usage import input_tokens

MAX_IMAGES = 20  # in a message
MAX_IMAGE_BYTES = int(3.75 * 1024 * 1024)
MAX_DOCUMENTS = 5  # in a request, over all its messages
MAX_DOCUMENT_BYTES = int(4.5 * 1024 * 1024)
MAX_CACHE_POINTS = 4
LOWEST_REASONING_TOP_P = 0.95

Body = Mapping[str, Any]
Blocks = Sequence[Mapping[str, Any]]


def check(body: Body, model: Model | None, *, streaming: bool) -> None:
    """Raises Refusal. `body` has passed `shapes.check`. Without a model, only the limits of all models are checked."""
    if not body.get("messages"):
        raise invalid("The messages field is empty. Add a message to the messages field and try again.")
    _roles(body["messages"])
    _content(body["messages"])
    _documents(body["messages"])
    _tool_traffic(body)
    _final_message(body, model)
    if model is not None:
        _abilities(body, model, streaming=streaming)
        _caching(body, model)
        _parameters(body, model)
        _reasoning(body, model)
        if model.context_window and input_tokens(body) > model.context_window:
            raise invalid("Input is too long for requested model.")


# ---- Messages -------------------------------------------------------------------------------------------------------


def _roles(messages: Blocks) -> None:
    if messages[0]["role"] != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    for before, message in pairwise(messages):
        if before["role"] == message["role"]:
            raise invalid(
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
                "between user and assistant roles and try again."
            )


def _content(messages: Blocks) -> None:
    """Which blocks each role may send, and their texts and images."""
    for index, message in enumerate(messages):
        content, at = message["content"], f"messages.{index}"
        if not content:
            raise invalid(
                f"The content field in the Message object at {at} is empty. Add a ContentBlock object to the content "
                "field and try again."
            )
        if message["role"] == "assistant":
            for kind in ("image", "document", "toolResult"):
                if any(kind in block for block in content):
                    raise invalid(f"{at}.content: {kind} blocks are allowed in user messages only.")
        elif any("toolUse" in block or "reasoningContent" in block for block in content):
            raise invalid(f"{at}.content: toolUse and reasoningContent blocks are allowed in assistant messages only.")
        _texts(content, f"{at}.content")
        _images(content, at)


def _texts(content: Blocks, at: str) -> None:
    for index, block in enumerate(content):
        if "text" in block and not block["text"].strip():
            raise invalid(
                f"The text field in the ContentBlock object at {at}.{index} is blank. Add text to the text field, and "
                "try again."
            )
        if result := block.get("toolResult"):
            if not result["content"] and result.get("status") == "error":
                raise invalid(
                    f"The content field at {at}.{index}.toolResult cannot be empty when status value is error."
                )
            _texts(result["content"], f"{at}.{index}.toolResult.content")


def _images(content: Blocks, at: str) -> None:
    images = [block["image"] for block in _flat(content) if "image" in block]
    if len(images) > MAX_IMAGES:
        raise refused_by_model(f"{at}: too many images and documents: {len(images)} + 0 > {MAX_IMAGES}")
    for image in images:
        size = _size(image["source"].get("bytes", ""))
        if size > MAX_IMAGE_BYTES:
            raise refused_by_model(f"{at}: image exceeds 3.75 MB maximum: {size} bytes > {MAX_IMAGE_BYTES} bytes")


def _documents(messages: Blocks) -> None:
    """Documents need text beside them and names that are unique in the request; size and number are limited."""
    names: list[str] = []
    for index, message in enumerate(messages):
        documents = [block["document"] for block in _flat(message["content"]) if "document" in block]
        if any("document" in block for block in message["content"]) and not _has(message["content"], "text"):
            raise invalid(
                f"messages.{index}.content: A text block must be included with a document. Add a text block and try "
                "again."
            )
        for document in documents:
            _document_name(document["name"])
            if _size(document["source"].get("bytes", "")) > MAX_DOCUMENT_BYTES:
                raise invalid(f"The document at messages.{index}.content exceeds the maximum size of 4.5 MB.")
        names += (document["name"] for document in documents)
    if len(names) > MAX_DOCUMENTS:
        raise invalid(f"You can't include more than {MAX_DOCUMENTS} documents in a request.")
    if len(set(names)) < len(names):
        raise invalid("Messages can't contain duplicate document names. Rename the document and retry your request.")


def _document_name(name: str) -> None:
    allowed = all((c.isascii() and c.isalnum()) or c.isspace() or c in "-()[]" for c in name)
    if not allowed or any(a.isspace() and b.isspace() for a, b in pairwise(name)):
        raise invalid(
            "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
            "parentheses, and square brackets. The name can't contain more than one consecutive whitespace character. "
            "Check that the file name conforms to these restrictions and retry your request."
        )


def _tool_traffic(body: Body) -> None:
    """Every tool use has a tool result in the next message, and there are no more results than tool uses."""
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
        pending = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
        if (pending or result_ids) and not body.get("toolConfig"):
            raise invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")


def _final_message(body: Body, model: Model | None) -> None:
    """An assistant's message may stand last if the model continues it, and may not end with white space."""
    last = body["messages"][-1]
    if last["role"] != "assistant":
        return
    thinks = _thinking(body).get("type") in ("enabled", "adaptive")
    restrictions = model.restrictions if model else frozenset[str]()
    refuses = model is not None and model.prefill is False
    if refuses or "no-prefill" in restrictions or (thinks and "reasoning-no-prefill" in restrictions):
        raise refused_by_model(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    text = last["content"][-1].get("text", "")
    if text != text.rstrip():
        raise refused_by_model("messages: final assistant content cannot end with trailing whitespace")


# ---- Models ---------------------------------------------------------------------------------------------------------


def _abilities(body: Body, model: Model, *, streaming: bool) -> None:
    """Refuses content and features that the model does not support, and reasoning without its signature."""
    blocks = [block for message in body["messages"] for block in _flat(message["content"])]
    if body.get("system") and model.system_prompt is False:
        raise invalid("This model doesn't support the system field. Remove system and try again.")
    if model.images is False and _has(blocks, "image"):
        raise invalid("This model doesn't support the image content block that you provided.")
    if model.documents is False and _has(blocks, "document"):
        raise invalid("This model doesn't support documents.")
    if body.get("toolConfig"):
        if model.tools is False:
            raise invalid("This model doesn't support tool use.")
        if streaming and model.tools_while_streaming is False:
            raise invalid("This model doesn't support tool use in streaming mode.")
    for index, block in enumerate(body.get("system") or ()):
        if "text" in block and not block["text"].strip():
            raise invalid(f"The text field in the SystemContentBlock object at system.{index} is blank.")
    if model.reasoning.signed:
        for block in blocks:
            thought = block.get("reasoningContent", {}).get("reasoningText")
            if thought is not None and not thought.get("signature"):
                raise refused_by_model("messages: thinking.signature: Field required")


def _caching(body: Body, model: Model) -> None:
    """Cache points: how many, where, and those that live longer first."""
    parts: dict[str, Blocks] = {
        "tools": (body.get("toolConfig") or {}).get("tools") or (),
        "system": body.get("system") or (),
        "messages": [block for message in body["messages"] for block in message["content"]],
    }
    points = {
        name: [block["cachePoint"] for block in blocks if "cachePoint" in block] for name, blocks in parts.items()
    }
    count = sum(map(len, points.values()))
    if count and not model.caching.max_checkpoints:
        raise Refusal(
            "AccessDeniedException",
            "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for "
            "more information.",
        )
    if count > MAX_CACHE_POINTS:
        raise refused_by_model(
            f"A maximum of {MAX_CACHE_POINTS} blocks with cache_control may be provided. Found {count}."
        )
    for name, points_of_part in points.items():
        if points_of_part and name not in model.caching.targets:
            raise invalid(f"Malformed input request: #/{name}: extraneous key [cachePoint] is not permitted.")
    ttls = [point.get("ttl") or "5m" for points_of_part in points.values() for point in points_of_part]
    if "1h" in ttls[ttls.index("5m") if "5m" in ttls else len(ttls) :]:
        raise refused_by_model("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")


def _parameters(body: Body, model: Model) -> None:
    """`maxTokens`, sampling parameters and stop sequences, as far as the model takes them."""
    config = body.get("inferenceConfig") or {}
    additional = body.get("additionalModelRequestFields") or {}
    limit = model.max_output_tokens
    if limit and config.get("maxTokens", 0) > limit:
        raise invalid(
            f"The maximum tokens you requested exceeds the model limit of {limit}. Try again with a maximum tokens "
            f"value that is lower than {limit}."
        )
    sampling = {"temperature": config.get("temperature"), "top_p": config.get("topP"), "top_k": additional.get("top_k")}
    present = [name for name, value in sampling.items() if value is not None]
    if present and "no-sampling-parameters" in model.restrictions:
        raise refused_by_model(f"`{present[0]}` is deprecated for this model.")
    for name, field, supported in (
        ("temperature", "temperature", model.temperature),
        ("top_p", "topP", model.top_p),
    ):
        if name in present and not supported:
            raise invalid(f"This model doesn't support the {field} field. Remove {field} and try again.")
    if "temperature-or-topP" in model.restrictions and {"temperature", "top_p"} <= set(present):
        raise refused_by_model(
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        )
    if "stopSequences" in config and "no-stop-sequences" in model.restrictions:  # even an empty list
        raise invalid("This model doesn't support the stopSequences field. Remove stopSequences and try again.")
    if "top_k" in additional and model.top_k_path != ("top_k",) and model.provider != "mistral":
        raise _extraneous("top_k")


def _reasoning(body: Body, model: Model) -> None:
    """The `thinking` field: whether the model has it, its form, and what a request may not combine it with."""
    if "thinking" not in (body.get("additionalModelRequestFields") or {}):
        return
    if model.reasoning.fields is None:
        raise _extraneous("thinking")
    thinking = _thinking(body)
    if model.reasoning.mode == "budgetTokens" and thinking.get("type") == "adaptive":
        raise refused_by_model("adaptive thinking is not supported on this model")
    if thinking.get("type") not in ("enabled", "adaptive"):
        return
    config, budget = body.get("inferenceConfig") or {}, thinking.get("budget_tokens")
    if thinking["type"] == "enabled" and not isinstance(budget, int):
        raise refused_by_model("thinking.enabled.budget_tokens: Field required")
    choice = (body.get("toolConfig") or {}).get("toolChoice") or {}
    restrictions: tuple[tuple[str, Callable[[], bool], str], ...] = (
        (
            "reasoning-budget-at-least-1024",
            lambda: budget is not None and budget < model.reasoning.min_budget,
            f"thinking.enabled.budget_tokens: Input should be greater than or equal to {model.reasoning.min_budget}",
        ),
        (
            "reasoning-budget-below-maxTokens",
            lambda: budget is not None and budget >= config.get("maxTokens", budget + 1),
            "`max_tokens` must be greater than `thinking.budget_tokens`.",
        ),
        (
            "reasoning-temperature-1",
            lambda: config.get("temperature", 1) != 1,
            "`temperature` may only be set to 1 when thinking is enabled.",
        ),
        (
            "reasoning-no-topK",
            lambda: "top_k" in body["additionalModelRequestFields"],
            "`top_k` must be unset when thinking is enabled.",
        ),
        (
            "reasoning-topP-095-to-1",
            lambda: config.get("topP", 1) < LOWEST_REASONING_TOP_P,
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.",
        ),
        (
            "reasoning-no-forced-tool",
            lambda: "any" in choice or "tool" in choice,
            "Thinking may not be enabled when tool_choice forces tool use.",
        ),
    )
    for restriction, is_broken, sentence in restrictions:
        if restriction in model.restrictions and is_broken():
            raise refused_by_model(sentence)


# ---- Reading --------------------------------------------------------------------------------------------------------


def _extraneous(name: str) -> Refusal:
    return invalid(
        f"Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input and try "
        "again."
    )


def _thinking(body: Body) -> Mapping[str, Any]:
    thinking = (body.get("additionalModelRequestFields") or {}).get("thinking")
    return thinking if isinstance(thinking, Mapping) else {}


def _flat(content: Blocks) -> Iterator[Mapping[str, Any]]:
    """All blocks, including those inside tool results."""
    for block in content:
        yield block
        yield from (block.get("toolResult") or {}).get("content") or ()


def _has(blocks: Blocks, kind: str) -> bool:
    return any(kind in block for block in blocks)


def _size(encoded: str) -> int:
    """The number of bytes that a base64 string encodes."""
    return len(encoded) // 4 * 3 - encoded[-2:].count("=")

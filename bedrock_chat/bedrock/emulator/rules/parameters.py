"""Rules that the catalogue has of a model: its abilities, its parameters, and how it is asked to think."""

from collections.abc import Callable

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid, refused_by_model
from bedrock_chat.bedrock.emulator.rules.blocks import Body, flat, has, thinking

LOWEST_REASONING_TOP_P = 0.95


def check(body: Body, model: Model, *, streaming: bool) -> None:
    """Raises Refusal."""
    _abilities(body, model, streaming=streaming)
    _parameters(body, model)
    _reasoning(body, model)


def _abilities(body: Body, model: Model, *, streaming: bool) -> None:
    """Refuses content and features that the model does not support."""
    blocks = [block for message in body["messages"] for block in flat(message["content"])]
    if body.get("system") and model.system_prompt is False:
        raise invalid("This model doesn't support the system field. Remove system and try again.")
    if model.images is False and has(blocks, "image"):
        raise invalid("This model doesn't support the image content block that you provided.")
    if model.documents is False and has(blocks, "document"):
        raise invalid("This model doesn't support documents.")
    if body.get("toolConfig"):
        if model.tools is False:
            raise invalid("This model doesn't support tool use.")
        if streaming and model.tools_while_streaming is False:
            raise invalid("This model doesn't support tool use in streaming mode.")
    for index, block in enumerate(body.get("system") or ()):
        if "text" in block and not block["text"].strip():
            raise invalid(f"The text field in the SystemContentBlock object at system.{index} is blank.")


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
    field = thinking(body)
    if model.reasoning.mode == "budgetTokens" and field.get("type") == "adaptive":
        raise refused_by_model("adaptive thinking is not supported on this model")
    if field.get("type") not in ("enabled", "adaptive"):
        return
    config, budget = body.get("inferenceConfig") or {}, field.get("budget_tokens")
    if field["type"] == "enabled" and not isinstance(budget, int):
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


def _extraneous(name: str) -> Refusal:
    return invalid(
        f"Malformed input request: #: extraneous key [{name}] is not permitted, please reformat your input and try "
        "again."
    )

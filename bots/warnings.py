"""What a bot's settings ask for and does not happen, as sentences for its owner and for who chats with it."""

from collections.abc import Sequence

from bedrock_chat.bedrock import estimates, offering, request
from bedrock_chat.bedrock.catalog import Model
from bots.configuration import (
    DEFAULT_GENERATION_PARAMS,
    Configuration,
    enabled_guardrails,
    existing_knowledge_base,
    has_guardrail,
    has_sources,
    is_active,
    parameters_of,
)
from bots.knowledge.reading.kinds import kind_of_name
from bots.knowledge.sources.kinds import ending_of, save_as
from bots.tools import agent, offered
from bots.tools.offered import Offered

NOTHING_INDEXED = "Nothing of the bot's files and addresses is indexed yet: it answers without them."
BESIDE_A_BASE = "The bot's files and addresses are not read: it asks the knowledge base that it names."
NO_THRESHOLDS = "The bot's guardrail is enabled and has no threshold: answers are not guarded."
MOST_NAMED = 5
SMALL_INSTRUCTION = 8_000
"""Characters that every model takes."""


def of_bot(configuration: Configuration, instruction: str, *, has_index: bool = True) -> list[str]:
    """For who edits a bot or opens it: about all models that may be chosen for it. `has_index` as for `of_turn`."""
    names_of: dict[str, list[str]] = {}
    too_small: list[str] = []
    without_tools: list[str] = []
    tokens = estimates.low_tokens(instruction) if len(instruction) > SMALL_INSTRUCTION else 0
    for model in offering.enabled():
        if is_active(configuration, model):
            if model.context_window is not None and tokens >= model.context_window:
                too_small.append(model.display_name)
            if configuration["tools"] and model.tools is False:
                without_tools.append(model.display_name)
            for parameter in _left_out(configuration, model):
                names_of.setdefault(parameter, []).append(model.display_name)
    sentences = [f"{parameter} is not sent as chosen to {_listed(names)}." for parameter, names in names_of.items()]
    if too_small:
        sentences.insert(0, f"The instruction alone is too long for {_listed(too_small)}: nobody is answered.")
    if without_tools:
        sentences.append(f"The bot's tools cannot be used by {_listed(without_tools)}.")
    left_out = _of_tools(offered.to_any(configuration))
    files = _of_files(configuration)
    return [*sentences, *left_out, *([] if has_index else [NOTHING_INDEXED]), *files, *_of_parts(configuration)]


def of_turn(configuration: Configuration, model: Model, *, thinks: bool, has_index: bool = True) -> list[str]:
    """For who chats: about the model that answers. `has_index`: whether what the bot has to index is indexed at all."""
    sentences = [
        f"{parameter} is not sent as chosen: {model.display_name} does not take it."
        for parameter in _left_out(configuration, model, thinks=thinks)
    ]
    left_out = _of_tools(offered.to_model(configuration, model))
    return [*sentences, *left_out, *([] if has_index else [NOTHING_INDEXED]), *_of_parts(configuration)]


def _of_tools(tools: Offered) -> list[str]:
    """About the tools that a bot has and does not offer."""
    return [left_out.sentence for left_out in tools.left_out]


def _of_files(configuration: Configuration) -> list[str]:
    """About types of files that are stored and not read, so that nobody has to wait for the sync to hear of it."""
    if existing_knowledge_base(configuration):
        return []
    names = configuration["knowledge"]["filenames"]
    endings = dict.fromkeys(ending_of(name) for name in names if kind_of_name(name) is None)
    return [f"Files of the type {ending} are not read; save them as {save_as(ending)}." for ending in endings]


def _left_out(configuration: Configuration, model: Model, *, thinks: bool = False) -> Sequence[str]:
    """The parameters that a model does not get. Nobody is told of a default, which clients send unasked."""
    chosen, usual = parameters_of(configuration["generation_params"]), parameters_of(DEFAULT_GENERATION_PARAMS)
    names = {
        "maxTokens": chosen.max_tokens != usual.max_tokens,
        "temperature": chosen.temperature != usual.temperature,
        "topP": chosen.top_p != usual.top_p,
        "topK": chosen.top_k != usual.top_k,
        "stopSequences": chosen.stop_sequences != usual.stop_sequences,
        "budgetTokens": chosen.reasoning_budget != usual.reasoning_budget,
    }
    return [name for name in request.left_out(model, chosen, thinks=thinks) if names[name]]


def _of_parts(configuration: Configuration) -> list[str]:
    """About the parts of a bot that do not work."""
    enabled = enabled_guardrails(configuration) is not None
    return [
        *(
            f"The tool {tool['name']} names no Bedrock agent."
            for tool in configuration["tools"]
            if agent.lacks_one(tool)
        ),
        *([BESIDE_A_BASE] if has_sources(configuration) and existing_knowledge_base(configuration) else []),
        *([NO_THRESHOLDS] if enabled and not has_guardrail(configuration) else []),
    ]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} more models"

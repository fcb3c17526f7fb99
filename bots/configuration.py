"""What a bot is configured with, as versions store it: plain JSON with snake_case names, complete, without secrets."""

from typing import Any, Final, Literal, NotRequired, TypedDict

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.request import NO_PARAMETERS, Parameters
from bedrock_chat.wire.names import camel, snake

Json = dict[str, Any]


class ReasoningParams(TypedDict):
    budget_tokens: int


class GenerationParams(TypedDict):
    max_tokens: int
    top_k: int
    top_p: float
    temperature: float
    stop_sequences: list[str]
    reasoning_params: ReasoningParams


class FirecrawlConfig(TypedDict):
    """The key itself is among the secrets. A tool whose key was taken out keeps its place without one."""

    max_results: int
    has_key: bool


class BedrockAgentConfig(TypedDict):
    agent_id: str
    alias_id: str


class Tool(TypedDict):
    """A tool. `firecrawl_config` and `search_engine` belong to the type `internet`, the last one to `bedrock_agent`."""

    tool_type: Literal["plain", "internet", "bedrock_agent"]
    name: str
    description: str
    search_engine: NotRequired[str]
    firecrawl_config: NotRequired[FirecrawlConfig | None]
    bedrock_agent_config: NotRequired[BedrockAgentConfig | None]


class Knowledge(TypedDict):
    source_urls: list[str]
    sitemap_urls: list[str]
    filenames: list[str]
    s3_urls: list[str]


class Guardrails(TypedDict):
    is_guardrail_enabled: bool
    hate_threshold: int
    insults_threshold: int
    sexual_threshold: int
    violence_threshold: int
    misconduct_threshold: int
    grounding_threshold: float
    relevance_threshold: float
    guardrail_arn: str
    guardrail_version: str


class QuickStarter(TypedDict):
    title: str
    example: str


class FileEntry(TypedDict):
    sha256: str
    size: int


class Configuration(TypedDict):
    """`generation_params` None: each model's own defaults. `inactive_models` are keys of the catalogue.

    `bedrock_knowledge_base` is what the client sent: clients read it back whole. `files` has an entry for each of the
    knowledge's `filenames`. `tool_rounds` and `tool_seconds` bound an answer's tools, within what the server allows.
    """

    generation_params: GenerationParams | None
    tools: list[Tool]
    knowledge: Knowledge
    bedrock_knowledge_base: Json | None
    bedrock_guardrails: Guardrails | None
    quick_starters: list[QuickStarter]
    inactive_models: list[str]
    prompt_caching_enabled: bool
    display_retrieved_chunks: bool
    files: NotRequired[dict[str, FileEntry]]
    tool_rounds: NotRequired[int | None]
    tool_seconds: NotRequired[int | None]


DEFAULT_GENERATION_PARAMS: Final[GenerationParams] = {
    "max_tokens": 4096,
    "top_k": 250,
    "top_p": 0.999,
    "temperature": 1.0,
    "stop_sequences": [],
    "reasoning_params": {"budget_tokens": 1024},
}
"""What clients read of a bot without parameters of its own."""


def parameters_of(chosen: GenerationParams | None) -> Parameters:
    """What the bot's owner chose, for requests to a model."""
    if chosen is None:
        return NO_PARAMETERS
    return Parameters(
        max_tokens=chosen["max_tokens"],
        temperature=chosen["temperature"],
        top_p=chosen["top_p"],
        top_k=chosen["top_k"],
        stop_sequences=tuple(chosen["stop_sequences"]),
        reasoning_budget=chosen["reasoning_params"]["budget_tokens"],
    )


NO_KNOWLEDGE: Final[Knowledge] = {"source_urls": [], "sitemap_urls": [], "filenames": [], "s3_urls": []}

FILTERS: Final = {
    "hate_threshold": "HATE",
    "insults_threshold": "INSULTS",
    "sexual_threshold": "SEXUAL",
    "violence_threshold": "VIOLENCE",
    "misconduct_threshold": "MISCONDUCT",
}
"""Threshold → the kind of content, as Bedrock calls it."""
STRENGTHS: Final = ("NONE", "LOW", "MEDIUM", "HIGH")
"""What a threshold of 0 to 3 means."""
GROUNDING_THRESHOLDS: Final = {"grounding_threshold": "GROUNDING", "relevance_threshold": "RELEVANCE"}
"""Threshold → what of an answer is held against the passages, as Bedrock calls it."""


def files_of(configuration: Configuration) -> dict[str, FileEntry]:
    """The bot's files by name. Versions from before there were any have no such part."""
    return configuration.get("files", {})


def has_knowledge(configuration: Configuration) -> bool:
    """Whether the bot has any source, or a knowledge base that exists already."""
    return has_sources(configuration) or existing_knowledge_base(configuration) is not None


def tools_without_key(configuration: Configuration) -> list[str]:
    """The names of the tools that need a key and have none."""
    configs = ((tool["name"], tool.get("firecrawl_config")) for tool in configuration["tools"])
    return [name for name, config in configs if config is not None and not config["has_key"]]


def existing_knowledge_base(configuration: Configuration) -> str | None:
    """The id of the Bedrock knowledge base that the bot asks, which somebody else maintains."""
    base = configuration["bedrock_knowledge_base"]
    return (base.get("exist_knowledge_base_id") or None) if base else None


def search_params(configuration: Configuration) -> Json:
    """How the bot's knowledge is searched: `max_results`, `search_type` and, where it is set, `filter`."""
    base = configuration["bedrock_knowledge_base"]
    return (base.get("search_params") or {}) if base else {}


def searches_own_index(configuration: Configuration) -> bool:
    """Whether the bot knows from an index of our own: beside a base that exists, files and addresses are not read."""
    return has_sources(configuration) and existing_knowledge_base(configuration) is None


def has_sources(configuration: Configuration) -> bool:
    """Whether the bot has files or addresses of its own to know from."""
    return any(configuration["knowledge"].values())


def has_guardrail(configuration: Configuration) -> bool:
    """Whether a guardrail is enabled, and has an ARN or any threshold."""
    guardrails = enabled_guardrails(configuration)
    if guardrails is None:
        return False
    thresholds = (*FILTERS, *GROUNDING_THRESHOLDS)
    return bool(guardrails["guardrail_arn"]) or any(guardrails[name] for name in thresholds)  # type: ignore[literal-required]


def enabled_guardrails(configuration: Configuration) -> Guardrails | None:
    guardrails = configuration["bedrock_guardrails"]
    return guardrails if guardrails is not None and guardrails["is_guardrail_enabled"] else None


def own_filters(configuration: Configuration) -> dict[str, str | float] | None:
    """What the bot's own guardrail is to block: kind of content → how strictly, and GROUNDING and RELEVANCE → below
    which share an answer is blocked. None where the bot needs no guardrail of its own.

    Somebody else's guardrail, which an ARN names, has filters of its own: the thresholds say nothing then.
    """
    guardrails = enabled_guardrails(configuration)
    if guardrails is None or guardrails["guardrail_arn"]:
        return None
    thresholds = {kind: guardrails[name] for name, kind in FILTERS.items()}  # type: ignore[literal-required]
    shares = {kind: guardrails[name] for name, kind in GROUNDING_THRESHOLDS.items()}  # type: ignore[literal-required]
    return {
        **{kind: STRENGTHS[threshold] for kind, threshold in thresholds.items() if threshold},
        **{kind: float(share) for kind, share in shares.items() if share},
    } or None


def is_grounded(configuration: Configuration) -> bool:
    """Whether answers are held against the bot's knowledge, by a guardrail of its own or one that an ARN names."""
    guardrails = enabled_guardrails(configuration)
    if guardrails is None or not has_knowledge(configuration):
        return False
    return any(guardrails[name] for name in GROUNDING_THRESHOLDS)  # type: ignore[literal-required]


# ---- Active models --------------------------------------------------------------------------------------------------


def wire_key(model_key: str) -> str:
    """`claude-v4.5-sonnet` → `claudeV45Sonnet`, as `activeModels` names it."""
    return camel(model_key.replace("-", "_").replace(".", "_"))


WIRE_KEYS: Final = {key: wire_key(key) for key in sorted(catalog.MODELS)}
SPELLINGS: Final = {
    spelling: key
    for key, name in WIRE_KEYS.items()
    for spelling in (name, snake(name), key.replace("-", "_").replace(".", "_"))
}
"""Every spelling of a model in a request's `active_models` → its key."""


def active_models(configuration: Configuration) -> dict[str, bool]:
    """`activeModels` as clients read it: every model of the catalogue. One that came after the bot is active."""
    inactive = frozenset(configuration["inactive_models"])
    return {name: key not in inactive for key, name in WIRE_KEYS.items()}


def is_active(configuration: Configuration, model: Model) -> bool:
    return model.key not in configuration["inactive_models"]

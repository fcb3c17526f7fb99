"""The form of a bot: its configuration as fields for people, and what they typed as the body of an edit.

What values are good, the shapes of the REST API decide (`BotModifyInputSerializer`); fields here only have the limits
that browsers should know of.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django import forms

from bedrock_chat.bedrock import catalog
from bedrock_chat.console.confirming import ConsoleForm, theme
from bedrock_chat.wire.names import snake
from bots import tools
from bots.configuration import (
    DEFAULT_GENERATION_PARAMS,
    FILTERS,
    STRENGTHS,
    WIRE_KEYS,
    Configuration,
    Tool,
    is_active,
)
from bots.content import MASK, configuration_of
from bots.models import LONGEST_TITLE, Bot
from bots.serializers.bots import LONGEST_DESCRIPTION, LONGEST_INSTRUCTION
from bots.serializers.parts import LONGEST_NAME, LONGEST_TEXT

Json = dict[str, Any]

PARAMETERS: Final = ("max_tokens", "temperature", "top_p", "top_k")
NO_GUARDRAIL: Final[Json] = {
    "is_guardrail_enabled": False,
    **dict.fromkeys(FILTERS, 0),
    "grounding_threshold": 0.0,
    "relevance_threshold": 0.0,
    "guardrail_arn": "",
    "guardrail_version": "",
}
ADDABLE: Final = {tool["name"]: tool for tool in tools.AVAILABLE}
ENGINES: Final = [("duckduckgo", "DuckDuckGo"), ("firecrawl", "Firecrawl, with a key")]
STRENGTH_CHOICES: Final = [(number, strength.capitalize()) for number, strength in enumerate(STRENGTHS)]


class BotForm(ConsoleForm):
    """A bot's texts, parameters, tools, models and guardrail. Its knowledge is its owner's to change."""

    base_version = forms.IntegerField(widget=forms.HiddenInput)
    title = forms.CharField(max_length=LONGEST_TITLE)
    description = forms.CharField(max_length=LONGEST_DESCRIPTION, required=False, widget=forms.Textarea({"rows": 2}))
    instruction = forms.CharField(
        max_length=LONGEST_INSTRUCTION, required=False, strip=False, widget=forms.Textarea({"rows": 10})
    )
    allow_cloning = forms.BooleanField(
        required=False,
        label="May be cloned",
        help_text="Its users may have one like it, and read its instruction.",
    )
    prompt_caching_enabled = forms.BooleanField(required=False, label="Caches prompts")
    display_retrieved_chunks = forms.BooleanField(required=False, label="Shows what it found in its knowledge")

    has_parameters = forms.BooleanField(
        required=False,
        label="Parameters of its own",
        help_text="Otherwise each model's defaults hold, and the fields below say nothing.",
    )
    max_tokens = forms.IntegerField(min_value=1, label="Longest answer, in tokens")
    temperature = forms.FloatField(min_value=0, widget=forms.NumberInput({"step": "any"}))
    top_p = forms.FloatField(min_value=0, label="Top P", widget=forms.NumberInput({"step": "any"}))
    top_k = forms.IntegerField(min_value=0, label="Top K")
    stop_sequences = forms.CharField(
        required=False, strip=False, widget=forms.Textarea({"rows": 2}), help_text="One a line."
    )
    budget_tokens = forms.IntegerField(min_value=1, label="Room to think, in tokens")

    models = forms.MultipleChoiceField(
        required=False,
        label="Models that it may be asked with",
        choices=[(WIRE_KEYS[key], model.display_name) for key, model in sorted(catalog.MODELS.items())],
        widget=forms.CheckboxSelectMultiple,
    )

    is_guardrail_enabled = forms.BooleanField(required=False, label="Is under a guardrail")
    grounding_threshold = forms.FloatField(min_value=0, max_value=0.99, widget=forms.NumberInput({"step": "any"}))
    relevance_threshold = forms.FloatField(min_value=0, max_value=0.99, widget=forms.NumberInput({"step": "any"}))
    guardrail_arn = forms.CharField(
        required=False, label="ARN of another's guardrail", help_text="Empty: it has its own, with the strengths above."
    )
    guardrail_version = forms.CharField(required=False, label="Version of that guardrail")

    added_tool = forms.ChoiceField(
        required=False,
        label="Add a tool",
        choices=[("", "None"), *((name, name.replace("_", " ")) for name in ADDABLE)],
        help_text="It is added as it comes; its fields are here the next time.",
    )

    def __init__(self, row: Bot, *args: Any, **kwargs: Any) -> None:
        self.configuration = configuration_of(row)
        self.tools = self.configuration["tools"]
        super().__init__(*args, initial=_initial(row, self.configuration), **kwargs)
        for name, field in (*_strengths().items(), *_fields_of_tools(self.tools).items()):
            self.fields[name] = field
            theme(field)

    @property
    def sections(self) -> list[tuple[str, list[str]]]:  # type: ignore[override]  # here they depend on the tools
        of_tools = [name for index, tool in enumerate(self.tools) for name in _names_of(index, tool)]
        return [
            ("Generation", ["has_parameters", *PARAMETERS, "stop_sequences", "budget_tokens"]),
            ("Tools", [*of_tools, "added_tool"]),
            ("Models", ["models"]),
            (
                "Guardrail",
                [
                    "is_guardrail_enabled",
                    *FILTERS,
                    "grounding_threshold",
                    "relevance_threshold",
                    "guardrail_arn",
                    "guardrail_version",
                ],
            ),
        ]

    def body(self) -> Json:
        """The body of the edit: everything that the form shows. Call it on a valid form."""
        values = self.cleaned_data
        chosen = set(values["models"])
        names = ("title", "description", "instruction", "base_version", "allow_cloning")
        flags = ("prompt_caching_enabled", "display_retrieved_chunks")
        return {
            **{name: values[name] for name in (*names, *flags)},
            "instruction": values["instruction"].replace("\r\n", "\n"),
            "description": values["description"].replace("\r\n", "\n"),
            "generation_params": _parameters(values) if values["has_parameters"] else None,
            "agent": {"tools": list(self._tools(values))},
            "active_models": {name: name in chosen for name in WIRE_KEYS.values()},
            **self._guardrails(values),
        }

    def _tools(self, values: Mapping[str, Any]) -> Iterator[Json]:
        """The tools that are kept, as they were changed, and the one that is added."""
        for index, tool in enumerate(self.tools):
            if values[f"tool_{index}_kept"]:
                yield _tool(index, tool, values)
        if (added := ADDABLE.get(values["added_tool"])) is not None:
            yield snaked(added)

    def _guardrails(self, values: Mapping[str, Any]) -> Json:
        """Nothing where the bot has no settings of a guardrail and shall have none."""
        names = ("is_guardrail_enabled", "grounding_threshold", "relevance_threshold")
        texts = ("guardrail_arn", "guardrail_version")
        sent = {name: values[name] for name in (*names, *texts)} | {name: int(values[name]) for name in FILTERS}
        stored = self.configuration["bedrock_guardrails"]
        return {} if stored is None and sent == NO_GUARDRAIL else {"bedrock_guardrails": sent}


def _initial(row: Bot, configuration: Configuration) -> Json:
    chosen = configuration["generation_params"]
    parameters = chosen or DEFAULT_GENERATION_PARAMS
    guardrails: Mapping[str, Any] = configuration["bedrock_guardrails"] or NO_GUARDRAIL
    return {
        "base_version": row.version,
        "title": row.title,
        "description": row.description,
        "instruction": row.instruction,
        "allow_cloning": row.allow_cloning,
        "prompt_caching_enabled": configuration["prompt_caching_enabled"],
        "display_retrieved_chunks": configuration["display_retrieved_chunks"],
        "has_parameters": chosen is not None,
        **{name: parameters[name] for name in PARAMETERS},
        "stop_sequences": "\n".join(parameters["stop_sequences"]),
        "budget_tokens": parameters["reasoning_params"]["budget_tokens"],
        "models": [WIRE_KEYS[key] for key, model in catalog.MODELS.items() if is_active(configuration, model)],
        **guardrails,
    }


def snaked(value: Any) -> Any:
    """JSON of the wire with the names that requests have when they are parsed."""
    return {snake(name): snaked(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _parameters(values: Mapping[str, Any]) -> Json:
    return {
        **{name: values[name] for name in PARAMETERS},
        "stop_sequences": [line for line in values["stop_sequences"].splitlines() if line],
        "reasoning_params": {"budget_tokens": values["budget_tokens"]},
    }


def _strengths() -> dict[str, forms.Field]:
    return {
        name: forms.TypedChoiceField(coerce=int, choices=STRENGTH_CHOICES, label=f"Blocks {kind.lower()}")
        for name, kind in FILTERS.items()
    }


def _fields_of_tools(tools_of_bot: list[Tool]) -> dict[str, forms.Field]:
    """For each tool whether it stays, its description, and what its type has."""
    fields: dict[str, forms.Field] = {}
    for index, tool in enumerate(tools_of_bot):
        name, start = tool["name"], f"tool_{index}"
        fields[f"{start}_kept"] = forms.BooleanField(required=False, initial=True, label=f"{name}: stays")
        fields[f"{start}_description"] = forms.CharField(
            max_length=LONGEST_TEXT,
            required=False,
            initial=tool["description"],
            label=f"{name}: description",
            widget=forms.Textarea({"rows": 2}),
        )
        if tool["tool_type"] == "internet":
            config = tool.get("firecrawl_config")
            fields[f"{start}_engine"] = forms.ChoiceField(
                choices=ENGINES, initial=tool.get("search_engine") or "duckduckgo", label=f"{name}: search engine"
            )
            fields[f"{start}_results"] = forms.IntegerField(
                min_value=1,
                max_value=100,
                initial=config["max_results"] if config else 10,
                label=f"{name}: results of Firecrawl",
            )
            fields[f"{start}_key"] = forms.CharField(
                max_length=LONGEST_NAME * 4,
                required=False,
                label=f"{name}: another key of Firecrawl",
                help_text="A key is stored; empty: it stays." if config and config["has_key"] else "No key is stored.",
                widget=forms.PasswordInput({"autocomplete": "new-password"}),
            )
        elif tool["tool_type"] == "bedrock_agent":
            agent = tool.get("bedrock_agent_config") or {"agent_id": "", "alias_id": ""}
            for part, word in (("agent_id", "id of the agent"), ("alias_id", "id of its alias")):
                fields[f"{start}_{part}"] = forms.CharField(
                    max_length=LONGEST_NAME,
                    required=False,
                    initial=agent[part],  # type: ignore[literal-required]
                    label=f"{name}: {word}",
                )
    return fields


def _names_of(index: int, tool: Tool) -> list[str]:
    parts = {"internet": ("engine", "results", "key"), "bedrock_agent": ("agent_id", "alias_id")}
    return [f"tool_{index}_{part}" for part in ("kept", "description", *parts.get(tool["tool_type"], ()))]


def _tool(index: int, tool: Tool, values: Mapping[str, Any]) -> Json:
    """A tool as a client would send it: the mask keeps the key that is stored."""
    start = f"tool_{index}"
    sent: Json = {
        "tool_type": tool["tool_type"],
        "name": tool["name"],
        "description": values[f"{start}_description"].replace("\r\n", "\n"),
    }
    if tool["tool_type"] == "internet":
        config = tool.get("firecrawl_config")
        stored = MASK if config and config["has_key"] else ""
        sent["search_engine"] = values[f"{start}_engine"]
        sent["firecrawl_config"] = None
        if config is not None or sent["search_engine"] == "firecrawl":
            key = values[f"{start}_key"] or stored
            sent["firecrawl_config"] = {"api_key": key, "max_results": values[f"{start}_results"]}
    elif tool["tool_type"] == "bedrock_agent":
        config_of_agent = {part: values[f"{start}_{part}"] for part in ("agent_id", "alias_id")}
        sent["bedrock_agent_config"] = config_of_agent
        if tool.get("bedrock_agent_config") is None and not any(config_of_agent.values()):
            sent["bedrock_agent_config"] = None
    return sent

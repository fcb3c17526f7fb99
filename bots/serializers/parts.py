"""Shapes of a bot's parts on the wire but its knowledge, and the validation of single fields.

`content` decides what they mean together. Names are in snake_case here, as requests arrive.
"""

import re
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from bedrock_chat.bedrock import catalog
from bedrock_chat.wire.fields import BoundedListField, ChoiceField, NumberField, TextField, WholeField
from bots.configuration import WIRE_KEYS
from bots.serializers.shapes import ShapeField, Shapes

LONGEST_NAME = 256
LONGEST_TEXT = 10_000
LONGEST_URL = 2048
MOST_TOOLS = 50
MOST_TOOL_ROUNDS = 25
LONGEST_TOOL_SECONDS = 300
MOST_STARTERS = 50
MOST_STOP_SEQUENCES = 2500  # Converse's
LONGEST_STOP_SEQUENCE = 1000
LARGEST_SIZE = 1_000_000
SMALLEST_BUDGET = 1024


def _widest(name: str) -> tuple[float, float]:
    """The lowest and the highest value of a parameter that any model of the catalogue takes."""
    ranges = [model.ranges[name] for model in catalog.MODELS.values() if name in model.ranges]
    lowest = min(span.lowest for span in ranges if span.lowest is not None)
    return lowest, max(span.highest for span in ranges if span.highest is not None)


MOST_TOKENS = max(model.max_output_tokens or 0 for model in catalog.MODELS.values())


# ---- Generation -----------------------------------------------------------------------------------------------------


class ReasoningParamsSerializer(serializers.Serializer[Any]):
    budget_tokens = WholeField(min_value=SMALLEST_BUDGET, max_value=MOST_TOKENS)


class GenerationParamsSerializer(serializers.Serializer[Any]):
    """Bounds are those of the most generous model. What one model does not take is left out of its requests."""

    max_tokens = WholeField(min_value=1, max_value=MOST_TOKENS)
    top_k = WholeField(min_value=int(_widest("topK")[0]), max_value=int(_widest("topK")[1]))
    top_p = NumberField(min_value=_widest("topP")[0], max_value=_widest("topP")[1])
    temperature = NumberField(min_value=_widest("temperature")[0], max_value=_widest("temperature")[1])
    stop_sequences = BoundedListField(child=TextField(max_length=LONGEST_STOP_SEQUENCE), max_length=MOST_STOP_SEQUENCES)
    reasoning_params = ReasoningParamsSerializer()


def _model_flags() -> type[serializers.Serializer[Any]]:
    flags = {name: serializers.BooleanField(required=False, default=True) for name in WIRE_KEYS.values()}
    return type("ActiveModelsSerializer", (serializers.Serializer,), flags)


ActiveModelsSerializer = _model_flags()


@extend_schema_field(ActiveModelsSerializer)
class ActiveModelsField(serializers.Field[Any, Any, Any, Any]):
    """Names of models, in any spelling, each with a boolean. Names that nobody knows are kept for `content`."""

    default_error_messages = {"invalid": "Expected an object of names and booleans.", "many": "Too many names."}

    def to_internal_value(self, data: Any) -> dict[str, bool]:
        if not isinstance(data, dict):
            self.fail("invalid")
        if len(data) > len(WIRE_KEYS) * 4:
            self.fail("many")
        if not all(isinstance(active, bool) for active in data.values()):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


# ---- Tools ----------------------------------------------------------------------------------------------------------


class PlainToolSerializer(serializers.Serializer[Any]):
    tool_type = ChoiceField(choices=["plain"], default="plain")
    name = TextField(max_length=LONGEST_NAME)
    description = TextField(max_length=LONGEST_TEXT, allow_blank=True)


class FirecrawlConfigSerializer(serializers.Serializer[Any]):
    api_key = TextField(
        max_length=LONGEST_NAME * 4,
        allow_blank=True,
        help_text="Answered as `********`, which keeps the stored one, or empty, where none is stored any more.",
    )
    max_results = WholeField(min_value=1, max_value=100, default=10)


class InternetToolSerializer(serializers.Serializer[Any]):
    tool_type = ChoiceField(choices=["internet"])
    name = TextField(max_length=LONGEST_NAME)
    description = TextField(max_length=LONGEST_TEXT, allow_blank=True)
    search_engine = ChoiceField(choices=["duckduckgo", "firecrawl"], allow_null=True)
    firecrawl_config = FirecrawlConfigSerializer(required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["search_engine"] == "firecrawl" and attrs["firecrawl_config"] is None:
            raise serializers.ValidationError({"firecrawl_config": "Firecrawl needs its configuration."})
        return attrs


class BedrockAgentConfigSerializer(serializers.Serializer[Any]):
    agent_id = TextField(max_length=LONGEST_NAME, allow_blank=True)
    alias_id = TextField(max_length=LONGEST_NAME, allow_blank=True)


class BedrockAgentToolSerializer(serializers.Serializer[Any]):
    tool_type = ChoiceField(choices=["bedrock_agent"])
    name = TextField(max_length=LONGEST_NAME)
    description = TextField(max_length=LONGEST_TEXT, allow_blank=True)
    bedrock_agent_config = BedrockAgentConfigSerializer(required=False, allow_null=True, default=None)


TOOLS: Shapes = {
    "plain": PlainToolSerializer,
    "internet": InternetToolSerializer,
    "bedrock_agent": BedrockAgentToolSerializer,
}


def tool_shapes(*, many: bool = False) -> PolymorphicProxySerializer:
    """For the OpenAPI document: a tool of any type, or a list of them."""
    return PolymorphicProxySerializer(
        component_name="Tool", serializers=dict(TOOLS), resource_type_field_name="tool_type", many=many
    )


@extend_schema_field(tool_shapes())
class ToolField(ShapeField):
    """A tool of any type. Without a type it is plain."""

    default_error_messages = {"invalid": "Expected a tool: an object whose toolType is one of {known}."}
    word, usual, shapes = "tool_type", "plain", TOOLS


class AgentSerializer(serializers.Serializer[Any]):
    tools = BoundedListField(child=ToolField(), max_length=MOST_TOOLS)


# ---- Guardrails and the rest ----------------------------------------------------------------------------------------


_GUARDRAIL = re.compile(r"[a-z0-9]+|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+")
_GUARDRAIL_VERSION = re.compile(r"[1-9][0-9]{0,7}|DRAFT")


class NamedField(TextField):
    """A name of Bedrock's, or nothing."""

    def __init__(self, form: re.Pattern[str], expected: str, **options: Any) -> None:
        super().__init__(allow_blank=True, **options)
        self._form, self._expected = form, expected

    def run_validation(self, data: Any = empty) -> Any:
        name = super().run_validation(data)
        if name and not self._form.fullmatch(name):
            raise serializers.ValidationError(f"Expected {self._expected}, or nothing.")
        return name


class GuardrailsSerializer(serializers.Serializer[Any]):
    is_guardrail_enabled = serializers.BooleanField()
    hate_threshold = WholeField(min_value=0, max_value=3)
    insults_threshold = WholeField(min_value=0, max_value=3)
    sexual_threshold = WholeField(min_value=0, max_value=3)
    violence_threshold = WholeField(min_value=0, max_value=3)
    misconduct_threshold = WholeField(min_value=0, max_value=3)
    grounding_threshold = NumberField(min_value=0, max_value=0.99)
    relevance_threshold = NumberField(min_value=0, max_value=0.99)
    guardrail_arn = NamedField(
        _GUARDRAIL, "the ARN or the id of a guardrail", max_length=LONGEST_URL, help_text="Empty: the bot has its own."
    )
    guardrail_version = NamedField(
        _GUARDRAIL_VERSION, "the number of a version or DRAFT", max_length=LONGEST_NAME, help_text="Empty: the draft."
    )


class QuickStarterSerializer(serializers.Serializer[Any]):
    title = TextField(max_length=LONGEST_NAME * 4, allow_blank=True)
    example = TextField(max_length=LONGEST_TEXT, allow_blank=True)

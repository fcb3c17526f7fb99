"""Shapes of chat completions, with OpenAI's names, and the validation of their fields."""

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from bedrock_chat.wire.fields import NumberField, TextField, WholeField
from bedrock_chat.wire.openapi import as_spelled
from publication.models import LABEL_LENGTH
from publication.openai import messages
from publication.openai.messages import History

LARGEST_TOKENS: Final = 10**9
LONGEST_NAME: Final = 256
MOST_STOPS: Final = 4
LONGEST_STOP: Final = 1000

WITHOUT_EFFECT: Final[dict[str, tuple[Any, ...]]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}
"""Fields that would change what an answer is, and the values (beside null) with which they change nothing."""

_NULLABLE: Final[dict[str, Any]] = {"required": False, "allow_null": True, "default": None}

_PARTS: Final = {
    "oneOf": [
        {"type": "string"},
        {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["text", "image_url"]},
                    "text": {"type": "string"},
                    "image_url": {
                        "type": "object",
                        "properties": {"url": {"type": "string", "description": "A data URL in base64."}},
                        "required": ["url"],
                    },
                },
                "required": ["type"],
            },
        },
    ]
}


@extend_schema_field(
    {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "role": {"type": "string", "enum": ["system", "developer", "user", "assistant"]},
                "content": _PARTS,
            },
            "required": ["role", "content"],
        },
        "description": "The whole history; the last one is the user's.",
    }
)
class MessagesField(serializers.Field[History, Any, Any, Any]):
    """A list of messages, validated into a History."""

    def to_internal_value(self, data: Any) -> History:
        return messages.parse(data)

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {
        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": f"{MOST_STOPS} at most.",
    }
)
class StopField(serializers.Field[tuple[str, ...], Any, Any, Any]):
    """One text or some, at each of which the answer ends."""

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        stops = [data] if isinstance(data, str) else data
        if not isinstance(stops, list) or len(stops) > MOST_STOPS:
            raise serializers.ValidationError(f"Expected a text, or a list of at most {MOST_STOPS} texts.")
        if not all(isinstance(stop, str) and 0 < len(stop) <= LONGEST_STOP for stop in stops):
            raise serializers.ValidationError(f"Each is a text of 1 to {LONGEST_STOP:,} characters.")
        return tuple(stops)

    def to_representation(self, value: Any) -> Any:
        return value


@as_spelled
class StreamOptionsSerializer(serializers.Serializer[Any]):
    include_usage = serializers.BooleanField(required=False, default=False)


@as_spelled
class ChatCompletionInputSerializer(serializers.Serializer[Any]):
    """A request for a chat completion. Fields that are not here and would change nothing are ignored."""

    model = TextField(
        **_NULLABLE, allow_blank=True, max_length=LONGEST_NAME, help_text="An active model; `default`: the first."
    )
    messages = MessagesField()
    stream = serializers.BooleanField(required=False, allow_null=True, default=False)
    stream_options = StreamOptionsSerializer(**_NULLABLE)
    max_tokens = WholeField(**_NULLABLE, min_value=1, max_value=LARGEST_TOKENS)
    max_completion_tokens = WholeField(
        **_NULLABLE, min_value=1, max_value=LARGEST_TOKENS, help_text="At most as many as the bot's own parameters say."
    )
    temperature = NumberField(**_NULLABLE)
    top_p = NumberField(**_NULLABLE)
    stop = StopField(**_NULLABLE)
    user = TextField(
        **_NULLABLE,
        allow_blank=True,
        max_length=LABEL_LENGTH,
        help_text="Your own name for who asks; it is kept with the usage, and permits nothing.",
    )

    def to_internal_value(self, data: Any) -> Any:
        valid = super().to_internal_value(data)
        if refused := {name: ["This is not offered here."] for name in WITHOUT_EFFECT if _has_effect(data, name)}:
            raise serializers.ValidationError(refused)
        return valid


def _has_effect(data: dict[str, Any], name: str) -> bool:
    value = data.get(name)
    return value is not None and value not in WITHOUT_EFFECT[name]


# ---- Answers --------------------------------------------------------------------------------------------------------


@as_spelled
class CompletionMessageSerializer(serializers.Serializer[Any]):
    role = serializers.ChoiceField(choices=["assistant"])
    content = serializers.CharField()
    refusal = serializers.CharField(allow_null=True)


FINISH_REASONS: Final = ("stop", "length", "content_filter")


@as_spelled
class ChoiceSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    message = CompletionMessageSerializer()
    logprobs = serializers.DictField(allow_null=True)
    finish_reason = serializers.ChoiceField(choices=FINISH_REASONS)


@as_spelled
class PromptDetailsSerializer(serializers.Serializer[Any]):
    cached_tokens = serializers.IntegerField()


@as_spelled
class CompletionUsageSerializer(serializers.Serializer[Any]):
    prompt_tokens = serializers.IntegerField()
    completion_tokens = serializers.IntegerField()
    total_tokens = serializers.IntegerField()
    prompt_tokens_details = PromptDetailsSerializer()


@as_spelled
class ChatCompletionSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    object = serializers.ChoiceField(choices=["chat.completion"])
    created = serializers.IntegerField(help_text="Epoch seconds.")
    model = serializers.CharField()
    choices = ChoiceSerializer(many=True)
    usage = CompletionUsageSerializer()


@as_spelled
class CompletionEventSerializer(serializers.Serializer[Any]):
    """An event of a stream, with the field that the standard of Server-Sent Events gives it."""

    data = serializers.CharField(  # type: ignore[assignment]  # a field, which the metaclass takes from the class
        help_text="JSON: a `chat.completion.chunk`, or an object with `error`, which is the last. Else `[DONE]` is."
    )


@as_spelled
class ModelSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    object = serializers.ChoiceField(choices=["model"])
    created = serializers.IntegerField(help_text="When the API was published, in epoch seconds.")
    owned_by = serializers.CharField()


@as_spelled
class ModelListSerializer(serializers.Serializer[Any]):
    object = serializers.ChoiceField(choices=["list"])
    data = ModelSerializer(many=True)  # type: ignore[assignment]  # a field, which the metaclass takes from the class


@as_spelled
class OpenAIErrorDetailSerializer(serializers.Serializer[Any]):
    message = serializers.CharField()
    type = serializers.CharField()
    param = serializers.CharField(allow_null=True)
    code = serializers.CharField(allow_null=True)


@as_spelled
class OpenAIErrorSerializer(serializers.Serializer[Any]):
    """Every error of these routes, whatever its status."""

    error = OpenAIErrorDetailSerializer()

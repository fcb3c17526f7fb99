"""Describes event streams in the OpenAPI document: one schema for each event's data, and an example of a stream."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, PolymorphicProxySerializer
from rest_framework import serializers

from bedrock_chat.wire.event_stream import EVENT_STREAM
from bedrock_chat.wire.openapi import ErrorSerializer
from conversations.serializers import RelatedDocumentSerializer
from conversations.streaming import events

EVENTS = (
    "Each event has a name and JSON data, and an id where a client can go on from it: `message_start` (the ids; once, "
    "first), `text` and `reasoning` (a piece of the answer), `tool_use`, `tool_result`, `related_document`, `retrying` "
    "(Bedrock is throttling; the next try is so many seconds away), `waiting`, and at the end either `message_stop` "
    "(the rows are stored) or `error`. A comment comes after 15 seconds of nothing. Everything before the first event "
    "is an ordinary answer in JSON. Ids are opaque."
)

RESTARTS = (
    " `restart` comes before the events of a further attempt, where a client has heard something of one that was lost "
    "with its process: forget what came before. `messageId` is the question's."
)

Shape = serializers.Serializer


class MessageStartSerializer(Shape):
    conversation_id = serializers.CharField()
    message_id = serializers.CharField(help_text="The question's: by it the turn is resumed and stopped.")
    answer_id = serializers.CharField(allow_null=True, help_text="What the answer's will be, once it is stored.")
    continues = serializers.BooleanField(help_text="Only what joins an earlier answer is told: append it there.")
    continued_text = serializers.CharField(
        required=False, help_text="With `continues`: the text to append to, whatever a checkpoint has stored since."
    )


class PieceSerializer(Shape):
    """`text` and `reasoning`: joins what came before."""

    text = serializers.CharField()


class ToolUseDataSerializer(Shape):
    tool_use_id = serializers.CharField()
    name = serializers.CharField()
    input = serializers.DictField()


class ToolResultDataSerializer(Shape):
    tool_use_id = serializers.CharField()
    status = serializers.ChoiceField(choices=["success", "error"])


class RelatedDocumentDataSerializer(Shape):
    tool_use_id = serializers.CharField()
    related_document = RelatedDocumentSerializer()


class RetryingSerializer(Shape):
    seconds = serializers.FloatField()


class WaitingSerializer(Shape):
    detail = serializers.CharField()
    conversation_id = serializers.CharField(required=False, help_text="From a published API.")
    message_id = serializers.CharField(required=False)


class RestartSerializer(Shape):
    detail = serializers.CharField()


class UsageSerializer(Shape):
    input_tokens = serializers.IntegerField(help_text="Without those of the prompt cache.")
    output_tokens = serializers.IntegerField()
    cache_read_input_tokens = serializers.IntegerField()
    cache_write_input_tokens = serializers.IntegerField()
    estimated = serializers.BooleanField(help_text="Bedrock never sent it: guessed from what was said.")


class MessageStopSerializer(Shape):
    conversation_id = serializers.CharField()
    message_id = serializers.CharField()
    answer_id = serializers.CharField(allow_null=True, help_text="Null where the turn was stopped before any text.")
    stop_reason = serializers.CharField(help_text="Bedrock's, or `stopped`, or `interrupted`.")
    usage = UsageSerializer(allow_null=True)
    price = serializers.FloatField(allow_null=True, help_text="USD; null is unpriced.")
    warnings = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="What the bot's settings ask for and this turn did not do.",
    )


class TurnErrorSerializer(ErrorSerializer):
    status = serializers.IntegerField(help_text="What a plain request would have been answered with.")
    retry_after = serializers.IntegerField(required=False, help_text="Seconds.")
    resume = serializers.BooleanField(required=False, help_text="True: the turn goes on, connect again.")


# ---- Events ---------------------------------------------------------------------------------------------------------


class JsonText(serializers.CharField):
    """A line of JSON text whose value has the shape of a serializer."""

    def __init__(self, shape: type[Shape], **options: Any) -> None:
        self.shape = shape
        super().__init__(**options)


class JsonTextExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]  # registers itself
    target_class = JsonText

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        shape = auto_schema.resolve_serializer(self.target.shape, direction).ref
        return {"type": "string", "contentMediaType": "application/json", "contentSchema": shape}


def _event(name: str, shape: type[Shape]) -> type[Shape]:
    """The schema of an event of that name, with the fields that the standard of Server-Sent Events gives it."""
    class_name = "".join(word.capitalize() for word in name.split("_")) + "StreamEventSerializer"
    fields = {
        "id": serializers.CharField(required=False),
        "event": serializers.ChoiceField(choices=[name]),
        "data": JsonText(shape),
    }
    return type(class_name, (Shape,), fields)


_SHAPES = [
    _event(events.MESSAGE_START, MessageStartSerializer),
    _event(events.TEXT, PieceSerializer),
    _event(events.REASONING, PieceSerializer),
    _event(events.TOOL_USE, ToolUseDataSerializer),
    _event(events.TOOL_RESULT, ToolResultDataSerializer),
    _event(events.RELATED_DOCUMENT, RelatedDocumentDataSerializer),
    _event(events.RETRYING, RetryingSerializer),
    _event(events.WAITING, WaitingSerializer),
    _event(events.MESSAGE_STOP, MessageStopSerializer),
    _event(events.ERROR, TurnErrorSerializer),
]


def _stream(name: str, shapes: list[type[Shape]]) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(component_name=name, serializers=shapes, resource_type_field_name=None)


STREAM = _stream("TurnEvent", _SHAPES)
STREAM_WITH_RESTARTS = _stream("PublishedTurnEvent", [*_SHAPES, _event(events.RESTART, RestartSerializer)])

EXAMPLE = """id: 1-1
event: message_start
data: {"conversationId":"first","messageId":"01M81F2XV49Z0211HVKE37DYG3","answerId":"01M81F2XV49Z0211HVKE37DYG4",\
"continues":false}

id: 1-3
event: text
data: {"text":"Echo: Hello!"}

id: 1-end
event: message_stop
data: {"conversationId":"first","messageId":"01M81F2XV49Z0211HVKE37DYG3","answerId":"01M81F2XV49Z0211HVKE37DYG4",\
"stopReason":"end_turn","usage":{"inputTokens":2,"outputTokens":3,"cacheReadInputTokens":0,\
"cacheWriteInputTokens":0,"estimated":false},"price":0.000051}

"""


def event_stream(*, restarts: bool = False) -> dict[tuple[int, str], OpenApiResponse]:
    """The 200 of a route that streams, for `extend_schema(responses={**event_stream(), …})`.

    With `restarts`, a turn may take several attempts.
    """
    example = OpenApiExample("A turn", value=EXAMPLE, media_type=EVENT_STREAM, response_only=True)
    described = OpenApiResponse(
        STREAM_WITH_RESTARTS if restarts else STREAM, description="The events of a turn.", examples=[example]
    )
    return {(200, EVENT_STREAM): described}

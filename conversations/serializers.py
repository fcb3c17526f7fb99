"""Shapes of conversations on the wire, and the validation of single fields.

Names are in snake_case here. Requests arrive in it, whatever case they were sent in, and the OpenAPI document shows the
wire's camelCase. `turn` decides what fields mean together, above all in `placement`.
"""

import contextlib
from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from bedrock_chat.bedrock import catalog
from bedrock_chat.wire.fields import BoundedListField, ChoiceField, TextField
from bedrock_chat.wire.ids import ID_LENGTH
from conversations import naming, rendering
from conversations.content.blocks import Content
from conversations.content.files import INLINE, REFERENCE
from conversations.content.parsing import DOCUMENT_FORMATS, IMAGE_FORMATS, TOOL_STATUSES, parse
from conversations.search import hits
from conversations.turn import reading
from conversations.turn.types import ChatInput

BLOBS_PARAMETER = OpenApiParameter(
    "blobs",
    str,
    enum=[INLINE, REFERENCE],
    default=INLINE,
    description="How images and documents come: `inline` in base64, or by `reference`: their body is empty, and `url` "
    "has an address that serves the file without a token, for a limited time.",
)
MODEL_KEYS = sorted(catalog.MODELS)
LONGEST_CATEGORY = 256
LONGEST_COMMENT = 100_000
MOST_IN_BULK = 100


class IdField(TextField):
    """An id that the client chooses. One that no URL can name is refused, with the sentence that `refusal` gives."""

    def __init__(self, refusal: Callable[[str], str | None], **options: Any) -> None:
        super().__init__(max_length=ID_LENGTH, **options)
        self._refusal = refusal

    def run_validation(self, data: Any = empty) -> Any:
        external_id = super().run_validation(data)
        if isinstance(external_id, str) and (sentence := self._refusal(external_id)):
            raise serializers.ValidationError(sentence)
        return external_id


# ---- Content blocks -------------------------------------------------------------------------------------------------


def _kind(name: str) -> serializers.ChoiceField:
    return serializers.ChoiceField(choices=[name])


class TextContentSerializer(serializers.Serializer[Any]):
    content_type = _kind("text")
    body = serializers.CharField()


def _url() -> serializers.CharField:
    return serializers.CharField(
        required=False,
        help_text="With `blobs=reference`, in place of the body, which is then empty: an address of limited life.",
    )


class ImageContentSerializer(serializers.Serializer[Any]):
    content_type = _kind("image")
    media_type = serializers.CharField(help_text="image/png, image/jpeg, image/gif or image/webp; the bytes decide.")
    body = serializers.CharField(help_text="Base64; at most 3.75 MB and 8000 × 8000 pixels.")
    url = _url()


class AttachmentContentSerializer(serializers.Serializer[Any]):
    content_type = _kind("attachment")
    file_name = serializers.CharField(help_text="Its ending names the format: " + ", ".join(DOCUMENT_FORMATS))
    body = serializers.CharField(
        help_text="Base64; at most 4.5 MB, a pdf 24 MB and a docx 18.7 MB where the model takes so much."
    )
    url = _url()


class ToolUseBodySerializer(serializers.Serializer[Any]):
    tool_use_id = serializers.CharField()
    name = serializers.CharField()
    input = serializers.DictField(help_text="As the tool's input schema has it; its keys are never renamed.")


class ToolUseContentSerializer(serializers.Serializer[Any]):
    content_type = _kind("toolUse")
    body = ToolUseBodySerializer()


class TextResultSerializer(serializers.Serializer[Any]):
    text = serializers.CharField()


class JsonResultSerializer(serializers.Serializer[Any]):
    json = serializers.DictField(help_text="Its keys are never renamed.")


class ImageResultSerializer(serializers.Serializer[Any]):
    format = serializers.ChoiceField(choices=IMAGE_FORMATS)
    image = serializers.CharField(help_text="Base64.")
    url = _url()


class DocumentResultSerializer(serializers.Serializer[Any]):
    format = serializers.ChoiceField(choices=DOCUMENT_FORMATS)
    document = serializers.CharField(help_text="Base64.")
    name = serializers.CharField()
    url = _url()


def _tool_result_part(*, many: bool) -> PolymorphicProxySerializer:
    return PolymorphicProxySerializer(
        component_name="ToolResultPart",
        serializers=[TextResultSerializer, JsonResultSerializer, ImageResultSerializer, DocumentResultSerializer],
        resource_type_field_name=None,
        many=many,
    )


@extend_schema_field(_tool_result_part(many=True))
class ToolResultPartsField(serializers.ListField):
    pass


class ToolResultBodySerializer(serializers.Serializer[Any]):
    tool_use_id = serializers.CharField()
    content = ToolResultPartsField()
    status = serializers.ChoiceField(choices=TOOL_STATUSES)


class ToolResultContentSerializer(serializers.Serializer[Any]):
    content_type = _kind("toolResult")
    body = ToolResultBodySerializer()


class ReasoningContentSerializer(serializers.Serializer[Any]):
    """A model's reasoning. It stands in answers; in a user's message it is refused."""

    content_type = _kind("reasoning")
    text = serializers.CharField()
    signature = serializers.CharField(help_text="Goes back to the model unmodified.")
    redacted_content = serializers.CharField(help_text="Base64.")


CONTENT = PolymorphicProxySerializer(
    component_name="Content",
    serializers={
        "text": TextContentSerializer,
        "image": ImageContentSerializer,
        "attachment": AttachmentContentSerializer,
        "toolUse": ToolUseContentSerializer,
        "toolResult": ToolResultContentSerializer,
        "reasoning": ReasoningContentSerializer,
    },
    resource_type_field_name="content_type",
    many=True,
)


@extend_schema_field(CONTENT)
class ContentField(serializers.Field[Content, Any, Any, Any]):
    """A list of content blocks, validated into `content.blocks.Content`."""

    def to_internal_value(self, data: Any) -> Content:
        return parse(data)

    def to_representation(self, value: Any) -> Any:
        return value


# ---- Requests -------------------------------------------------------------------------------------------------------


class MessageInputSerializer(serializers.Serializer[Any]):
    role = ChoiceField(choices=["user"], default="user")
    content = ContentField()
    model = ChoiceField(choices=MODEL_KEYS)
    message_id = IdField(
        naming.message_refusal, required=False, allow_null=True, help_text="Names this message; a repeat is a retry."
    )
    parent_message_id = TextField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=ID_LENGTH,
        help_text="The message above. `null`: the last one. `system`: edits the first message.",
    )


class ChatInputSerializer(serializers.Serializer[Any]):
    conversation_id = IdField(naming.conversation_refusal, help_text="Chosen by the client; an unknown one is new.")
    message = MessageInputSerializer()
    bot_id = TextField(required=False, allow_null=True, allow_blank=True, max_length=ID_LENGTH)
    continue_generate = serializers.BooleanField(
        required=False, default=False, help_text="Extends the answer that `parentMessageId` names."
    )
    enable_reasoning = serializers.BooleanField(required=False, default=False)


_CHAT_INPUT = ChatInputSerializer()


def read_chat_input(data: Any) -> ChatInput:
    """A request body, validated for `lifecycle.run`. Raises DRF's ValidationError.

    What is plainly valid is read directly, in a tenth of the serializer's time. The serializer reads everything else:
    it coerces, and words the refusals. One serializer validates all requests, since it keeps nothing of a request.
    """
    with contextlib.suppress(serializers.ValidationError):
        if chat := reading.read(data):
            return chat
    return validated(data)


def validated(data: Any) -> ChatInput:
    """A request body as the serializer reads it. Raises DRF's ValidationError."""
    valid: dict[str, Any] = _CHAT_INPUT.run_validation(data)
    message = valid["message"]
    return ChatInput(
        conversation_external_id=valid["conversation_id"],
        model=catalog.find(message["model"]),
        content=message["content"],
        message_external_id=message.get("message_id"),
        parent_external_id=message.get("parent_message_id"),
        bot_id=valid.get("bot_id") or None,
        continue_generate=valid["continue_generate"],
        enable_reasoning=valid["enable_reasoning"],
    )


class NewTitleSerializer(serializers.Serializer[Any]):
    new_title = TextField(max_length=1000)


class SearchSerializer(serializers.Serializer[Any]):
    query = serializers.CharField(help_text="Words; no character is an operator. The first 64 words count.")
    limit = serializers.IntegerField(
        required=False, default=hits.USUAL_HITS, min_value=1, max_value=hits.MOST_HITS, help_text="At most so many."
    )


class FeedbackInputSerializer(serializers.Serializer[Any]):
    thumbs_up = serializers.BooleanField()
    category = TextField(
        required=False,
        allow_null=True,
        allow_blank=True,
        max_length=LONGEST_CATEGORY,
        help_text="Required where `thumbsUp` is false.",
    )
    comment = TextField(required=False, allow_null=True, allow_blank=True, max_length=LONGEST_COMMENT)


class BulkDeleteSerializer(serializers.Serializer[Any]):
    conversation_ids = BoundedListField(child=TextField(max_length=ID_LENGTH), min_length=1, max_length=MOST_IN_BULK)


# ---- Responses ------------------------------------------------------------------------------------------------------


class FeedbackSerializer(serializers.Serializer[Any]):
    thumbs_up = serializers.BooleanField()
    category = serializers.CharField()
    comment = serializers.CharField()


class UsedChunkSerializer(serializers.Serializer[Any]):
    content = serializers.CharField()
    content_type = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]  # the wire's name, not Field's argument
    rank = serializers.IntegerField()


class ThinkingLogSerializer(serializers.Serializer[Any]):
    role = serializers.CharField()
    content = ContentField()


class MessageOutputSerializer(serializers.Serializer[Any]):
    role = serializers.CharField(help_text="user, assistant or system.")
    content = ContentField()
    model = serializers.ChoiceField(choices=MODEL_KEYS)
    children = serializers.ListField(child=serializers.CharField())
    feedback = FeedbackSerializer(allow_null=True)
    used_chunks = UsedChunkSerializer(many=True, allow_null=True)
    parent = serializers.CharField(allow_null=True)  # type: ignore[assignment]  # the wire's name
    thinking_log = ThinkingLogSerializer(many=True, allow_null=True)
    stop_reason = serializers.ChoiceField(
        choices=sorted(rendering.SHOWN_STOP_REASONS),
        required=False,
        help_text="On an answer that was cut short, or that a guardrail has blocked, only.",
    )


class ChatOutputSerializer(serializers.Serializer[Any]):
    conversation_id = serializers.CharField()
    message = MessageOutputSerializer()
    bot_id = serializers.CharField(allow_null=True)
    create_time = serializers.FloatField(help_text="Epoch milliseconds.")
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What the bot's settings ask for and this turn did not do."
    )


class ConversationSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    create_time = serializers.FloatField(help_text="Epoch milliseconds.")
    message_map = serializers.DictField(
        child=MessageOutputSerializer(), help_text="By message id; the root is `system`."
    )
    last_message_id = serializers.CharField()
    bot_id = serializers.CharField(allow_null=True)
    bot_available = serializers.BooleanField(
        allow_null=True, help_text="Whether you may use its bot now; null without a bot."
    )
    should_continue = serializers.BooleanField(help_text="Whether the last answer was cut short and can be continued.")


class ConversationMetaSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    create_time = serializers.FloatField(help_text="Epoch milliseconds.")
    model = serializers.CharField()
    bot_id = serializers.CharField(allow_null=True)


class SearchHighlightSerializer(serializers.Serializer[Any]):
    field_name = serializers.ChoiceField(  # type: ignore[assignment]  # the wire's name, not Field's attribute
        choices=["Title", "MessageBody"]
    )
    fragments = serializers.ListField(
        child=serializers.CharField(), help_text="HTML: what was found between `<em>` and `</em>`, the rest escaped."
    )


class FoundConversationSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    last_updated_time = serializers.FloatField(help_text="Epoch milliseconds.")
    bot_id = serializers.CharField(allow_null=True)
    highlights = SearchHighlightSerializer(many=True, allow_null=True)


class BulkDeletedSerializer(serializers.Serializer[Any]):
    deleted_count = serializers.IntegerField()
    failed_ids = serializers.ListField(child=serializers.CharField(), help_text="Those that were not there.")


@extend_schema_field(_tool_result_part(many=False))
class ToolResultPartField(serializers.DictField):
    pass


class RelatedDocumentSerializer(serializers.Serializer[Any]):
    content = ToolResultPartField()
    source_id = serializers.CharField(help_text="`<toolUseId or the answer's id>@<n>`, or the tool use's id alone.")
    source_name = serializers.CharField(allow_null=True)
    source_link = serializers.CharField(allow_null=True)
    page_number = serializers.IntegerField(allow_null=True)


class ProposedTitleSerializer(serializers.Serializer[Any]):
    title = serializers.CharField()

"""Shapes of the published API."""

import contextlib
from typing import Any

from rest_framework import serializers

from bedrock_chat.bedrock import catalog
from bedrock_chat.wire.fields import ChoiceField, TextField
from bedrock_chat.wire.ids import ID_LENGTH
from bedrock_chat.wire.openapi import ErrorSerializer
from conversations import naming
from conversations.content import parsing
from conversations.content.blocks import Content
from conversations.serializers import MODEL_KEYS, ContentField, ConversationSerializer, IdField, MessageOutputSerializer
from publication.accepting import Question
from publication.models import LABEL_LENGTH
from publication.waiting import LONGEST_SECONDS

NOTHING = Content([], {})


class PublishedMessageSerializer(serializers.Serializer[Any]):
    content = ContentField()
    model = ChoiceField(choices=MODEL_KEYS)


class AskInputSerializer(serializers.Serializer[Any]):
    conversation_id = IdField(
        naming.message_refusal,  # no slash: the id of a message may follow in the address
        required=False,
        allow_null=True,
        help_text="Absent: a new conversation, whose id is in the answer.",
    )
    message = PublishedMessageSerializer()
    continue_generate = serializers.BooleanField(required=False, default=False)
    enable_reasoning = serializers.BooleanField(required=False, default=False)
    user_label = TextField(
        max_length=LABEL_LENGTH,
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="Your own name for who asks; it is kept with the usage, and permits nothing.",
    )


_fields = AskInputSerializer()
"""Kept, since it holds nothing of a request: for a new one DRF copies all fields, which takes longer than their use."""


def read_question(data: Any) -> Question:
    """A request body, validated. Raises DRF's ValidationError.

    What is plainly valid is read directly, in a fifth of the serializer's time. The serializer reads everything else:
    it coerces, and words the refusals.
    """
    with contextlib.suppress(serializers.ValidationError):
        if question := read_directly(data):
            return question
    return validated(data)


def read_directly(body: Any) -> Question | None:
    """What the serializer would make of a body with snake_case names; None where it must look at the body.

    Raises what `parsing.parse` raises. Content comes last: it is the one part whose validation costs more than a look.
    """
    message = body.get("message") if type(body) is dict else None
    if type(message) is not dict:
        return None
    model = catalog.MODELS.get(key) if type(key := message.get("model")) is str else None
    conversation_id, user_label = body.get("conversation_id"), body.get("user_label")
    continue_generate, enable_reasoning = body.get("continue_generate", False), body.get("enable_reasoning", False)
    if not (
        model is not None
        and (conversation_id is None or _is_name(conversation_id))
        and (user_label is None or _is_text(user_label, LABEL_LENGTH))
        and type(continue_generate) is type(enable_reasoning) is bool
        and "content" in message
    ):
        return None
    return Question(
        model=model,
        content=parsing.parse(message["content"]),
        conversation_id=conversation_id,
        continue_generate=continue_generate,
        enable_reasoning=enable_reasoning,
        user_label=user_label or "",
    )


def _is_name(value: Any) -> bool:
    return _is_text(value, ID_LENGTH) and value != "" and naming.message_refusal(value) is None


def _is_text(value: Any, longest: int) -> bool:
    return type(value) is str and len(value) <= longest and "\0" not in value


def validated(data: Any) -> Question:
    """A request body as the serializer reads it. Raises DRF's ValidationError."""
    valid: dict[str, Any] = _fields.run_validation({} if data is None else data)
    return Question(
        model=catalog.find(valid["message"]["model"]),
        content=valid["message"]["content"],
        conversation_id=valid.get("conversation_id"),
        continue_generate=valid["continue_generate"],
        enable_reasoning=valid["enable_reasoning"],
        user_label=valid.get("user_label") or "",
    )


class WaitQuerySerializer(serializers.Serializer[Any]):
    wait = serializers.IntegerField(
        min_value=1,
        required=False,
        help_text=f"Seconds to wait for the answer while it is not there; more than {LONGEST_SECONDS} count as "
        f"{LONGEST_SECONDS}. Without it, the response comes at once.",
    )


class RefusalSerializer(ErrorSerializer):
    """An error as API Gateway has it, and as all others here."""

    message = serializers.CharField(help_text="`detail` again.")


class AcceptedSerializer(serializers.Serializer[Any]):
    conversation_id = serializers.CharField()
    message_id = serializers.CharField(help_text="Names the question; its answer is asked for by this id.")


class PublishedAnswerSerializer(serializers.Serializer[Any]):
    conversation_id = serializers.CharField()
    message = MessageOutputSerializer()
    create_time = serializers.FloatField(help_text="Epoch milliseconds.")


class PublishedConversationSerializer(ConversationSerializer):
    """As the main API shows a conversation."""

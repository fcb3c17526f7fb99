"""Reads a turn's request in one pass: its plainly valid form, as clients send it.

`conversations.serializers.ChatInputSerializer` says what is valid, words every refusal, and documents the request. What
is read here must be what it would have made of the same body. A test compares the two.
"""

from typing import Any

from bedrock_chat.bedrock import catalog
from bedrock_chat.wire.ids import ID_LENGTH
from conversations import naming
from conversations.content import parsing
from conversations.turn.types import ChatInput


def read(body: Any) -> ChatInput | None:
    """The input of a request body with snake_case names; None where the serializer must look at the body.

    Raises what `parsing.parse` raises. The serializer then refuses the same content, with the field's path. Content
    comes last: it is the one part whose validation costs more than a look.
    """
    message = body.get("message") if type(body) is dict else None
    if type(message) is not dict:
        return None
    conversation_id, message_id = body.get("conversation_id"), message.get("message_id")
    parent_id, bot_id = message.get("parent_message_id"), body.get("bot_id")
    model = catalog.MODELS.get(key) if type(key := message.get("model")) is str else None
    continue_generate, enable_reasoning = body.get("continue_generate", False), body.get("enable_reasoning", False)
    if not (
        _is_id(conversation_id)
        and conversation_id
        and naming.conversation_refusal(conversation_id) is None
        and message.get("role", "user") == "user"
        and model is not None
        and (message_id is None or (_is_id(message_id) and message_id and naming.message_refusal(message_id) is None))
        and (parent_id is None or _is_id(parent_id))
        and (bot_id is None or _is_id(bot_id))
        and type(continue_generate) is type(enable_reasoning) is bool
        and "content" in message
    ):
        return None
    return ChatInput(
        conversation_external_id=conversation_id,
        model=model,
        content=parsing.parse(message["content"]),
        message_external_id=message_id,
        parent_external_id=parent_id,
        bot_id=bot_id or None,
        continue_generate=continue_generate,
        enable_reasoning=enable_reasoning,
    )


def _is_id(value: Any) -> bool:
    """Whether a value is a string of an id's length without NUL. It may be empty."""
    return type(value) is str and len(value) <= ID_LENGTH and "\0" not in value

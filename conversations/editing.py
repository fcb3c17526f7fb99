"""Changes of conversations outside a turn, one function each. `deleting` has the others."""

from typing import Any

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import BadRequest
from conversations import access
from conversations.models import Conversation, Message


def rename(external_id: str, title: str, *, actor: Caller) -> None:
    """Gives a conversation a new title. Raises NotFound."""
    conversation = access.get_conversation(actor, external_id)
    # With `updated_at`, which is how search learns of it.
    Conversation.objects.filter(pk=conversation.pk).update(title=title, updated_at=database_now())


def give_feedback(
    conversation_external_id: str,
    message_external_id: str,
    *,
    thumbs_up: bool,
    category: str,
    comment: str,
    actor: Caller,
) -> dict[str, Any]:
    """Keeps what the user thinks of a message, `system` and questions included, in place of what stood there.

    Returns it as it is stored and told. Raises BadRequest where `thumbs_up` is false and there is no category, and
    NotFound.
    """
    if not thumbs_up and not category.strip():
        sentence = "category: A category is required where thumbsUp is false."
        raise BadRequest(f"The request is not valid: {sentence}", errors=[sentence])
    feedback = {"thumbsUp": thumbs_up, "category": category, "comment": comment}
    conversation = access.get_conversation(actor, conversation_external_id)
    if message_external_id == "system":
        Conversation.objects.filter(pk=conversation.pk).update(feedback=feedback)
    else:
        message = access.get_message(conversation, message_external_id, database_now())
        Message.objects.filter(pk=message.pk).update(feedback=feedback)
    return feedback

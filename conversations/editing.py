"""Changes to conversations outside a turn, one function each. `deleting` has those that delete."""

from typing import Any

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import invalid
from bedrock_chat.wire.renderers import dumps
from conversations import access
from conversations.models import Conversation, Message
from conversations.titles import cleaning
from conversations.turn import capacity


def rename(external_id: str, title: str, *, actor: Caller) -> None:
    """Gives a conversation a new title. Raises BadRequest for a blank one, and NotFound."""
    if cleaning.is_blank(title):
        raise invalid("newTitle: A title must not be blank.")
    conversation = access.get_conversation(actor, external_id)
    # `updated_at` is set too, so that search indexes the new title.
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
    """Stores the user's feedback on a message, in place of earlier feedback. `system` and questions may have it too.

    Returns the feedback as it is stored and sent. Raises NotFound, and BadRequest if `thumbs_up` is false and there is
    no category, or if the conversation has no room for long feedback.
    """
    if not thumbs_up and not category.strip():
        raise invalid("category: A category is required where thumbsUp is false.")
    feedback = {"thumbsUp": thumbs_up, "category": category, "comment": comment}
    conversation = access.get_conversation(actor, conversation_external_id)
    capacity.count_feedback(conversation, dumps(feedback))
    if message_external_id == "system":
        Conversation.objects.filter(pk=conversation.pk).update(feedback=feedback)
    else:
        message = access.get_message(conversation, message_external_id, database_now())
        Message.objects.filter(pk=message.pk).update(feedback=feedback)
    return feedback

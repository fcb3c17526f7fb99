"""How much one conversation may hold."""

from bedrock_chat.database import compiled_sql
from bedrock_chat.wire.errors import BadRequest
from conversations.models import Conversation
from conversations.tree import Tree

MOST_MESSAGES = 10_000
MEGABYTE = 1024 * 1024
MOST_BYTES = 500 * MEGABYTE
SMALL_FEEDBACK = 8_000
"""Bytes of feedback that are not counted: on every message of a conversation they are 80 MB."""


def refuse_more_messages(tree: Tree, more: int) -> None:
    """Refuses `more` messages if there is no room for them: a question and its answer, or another answer.

    Raises BadRequest.
    """
    if len(tree.nodes) + more > MOST_MESSAGES:
        raise BadRequest(f"A conversation holds at most {MOST_MESSAGES:,} messages. Begin a new one.")


def count_feedback(conversation: Conversation, feedback: bytes) -> None:
    """Counts feedback that is not small, each time it is given. Raises BadRequest if there is no room for it."""
    if len(feedback) <= SMALL_FEEDBACK:
        return
    refuse_more_bytes(conversation, len(feedback))
    compiled_sql.update(Conversation, {"pk": conversation.pk}, {"size": len(feedback)})


def refuse_more_bytes(conversation: Conversation, size: int = 0) -> None:
    """Refuses `size` more bytes if there is no room for them. Raises BadRequest.

    An answer may go beyond: it was paid for, and every model ends soon enough.
    """
    if (conversation.size or 0) + size > MOST_BYTES:
        sentence = f"A conversation holds at most {MOST_BYTES // MEGABYTE} MB, files included. Begin a new one."
        raise BadRequest(sentence)

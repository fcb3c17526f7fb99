"""How much one conversation may hold."""

from bedrock_chat.wire.errors import BadRequest
from conversations.models import Conversation
from conversations.tree import Tree

MOST_MESSAGES = 10_000
MEGABYTE = 1024 * 1024
MOST_BYTES = 500 * MEGABYTE


def refuse_more_messages(tree: Tree) -> None:
    """Refuses a new question if there is no room for it and its answer. Raises BadRequest."""
    if len(tree.nodes) + 2 > MOST_MESSAGES:
        raise BadRequest(f"A conversation holds at most {MOST_MESSAGES:,} messages. Begin a new one.")


def refuse_more_bytes(conversation: Conversation, size: int = 0) -> None:
    """Refuses `size` more bytes if there is no room for them. Raises BadRequest.

    An answer may go beyond: it was paid for, and every model ends soon enough.
    """
    if (conversation.size or 0) + size > MOST_BYTES:
        sentence = f"A conversation holds at most {MOST_BYTES // MEGABYTE} MB, files included. Begin a new one."
        raise BadRequest(sentence)

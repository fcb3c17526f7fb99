"""The doors to conversations: rows are fetched by id only here, for a caller who may see them."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import QuerySet

from bedrock_chat import blobs, statements
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import NotFound
from conversations.chat import Answer
from conversations.content import Block
from conversations.models import Conversation, ConversationQuerySet, Message, Role
from conversations.tree import Node, Tree

NODE_FIELDS = (
    "pk",
    "message_id",
    "parent_id",
    "role",
    "attempt",
    "outcome",
    "lease_expires_at",
    "continues",
    "stop_reason",
    "content_digest",
)


def visible_conversations(actor: Caller) -> QuerySet[Conversation]:
    """The caller's conversations, newest first by id, by code point and as a string, as the contract lists them."""
    return Conversation.objects.visible_to(actor).order_by("-conversation_id")


def find_conversation(actor: Caller, conversation_id: str, *, lock: bool = False) -> Conversation | None:
    """The caller's conversation of that id, or None."""
    where = {**ConversationQuerySet.owner(actor), "conversation_id": conversation_id}
    return statements.get(Conversation, where, lock=lock)


def get_conversation(actor: Caller, conversation_id: str, *, lock: bool = False) -> Conversation:
    """The caller's conversation of that id. Raises NotFound, also where the id is another owner's.

    `lock` holds the row until the transaction ends.
    """
    found = find_conversation(actor, conversation_id, lock=lock)
    if found is None:
        raise NotFound(f"No conversation found with id: {conversation_id}")
    return found


def get_question(conversation: Conversation, message_id: str) -> Message:
    """The question of that id, without its content. Raises NotFound, also for the id of an answer."""
    where = {"conversation": conversation, "message_id": message_id, "role": Role.USER}
    found = Message.objects.filter(**where).defer("content").first()
    if found is None:
        raise NotFound(f"No question found with id: {message_id}")
    return found


def read_tree(conversation: Conversation, now: datetime) -> Tree:
    """All messages of a conversation without their bodies, in one query."""
    rows = statements.select(Message, NODE_FIELDS, {"conversation_id": conversation.pk})
    return Tree.of((Node(*row) for row in rows), now)


def read_bodies(nodes: Sequence[Node]) -> dict[int, list[Block]]:
    """The stored content of exactly these messages, in one query."""
    return statements.documents(Message, "content", [node.pk for node in nodes])


def stored_answer(conversation: Conversation, question_id: str, row: Message, children: Iterable[str] = ()) -> Answer:
    """An answer as its turn left it; `children` are the messages below it."""
    return Answer(
        conversation_id=conversation.conversation_id,
        created_at=conversation.created_at,
        bot_id=conversation.bot_id,
        message_id=row.message_id,
        parent_id=question_id,
        model=row.model,
        stop_reason=row.stop_reason,
        content=row.content,
        children=tuple(children),
        attempt=row.attempt,
    )


class BlobReader:
    """Reads each blob once, however often the messages of one request name it."""

    def __init__(self, known: Iterable[tuple[str, bytes]] = ()) -> None:
        self._bodies = dict(known)

    def __call__(self, sha256: str) -> bytes:
        if sha256 not in self._bodies:
            self._bodies[sha256] = blobs.read(sha256)
        return self._bodies[sha256]

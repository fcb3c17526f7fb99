"""The doors to conversations: rows are fetched by id only here, for a caller who may see them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from django.db.models import QuerySet

from bedrock_chat.database import compiled_sql
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.paging import ALL, Page
from conversations.content.blocks import StoredBlock
from conversations.models import Conversation, ConversationQuerySet, Message, RelatedDocument, Role, lease_lives
from conversations.tree import Node, Tree

NODE_COLUMNS = tuple(field.name for field in fields(Node))


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer with what a client is told of it. `children` are the messages below it."""

    conversation_external_id: str
    created_at: datetime
    bot_id: str | None
    external_id: str
    question_external_id: str
    model: str
    stop_reason: str
    content: list[StoredBlock]
    children: tuple[str, ...] = ()
    attempt: int = 0


def visible_conversations(actor: Caller, page: Page = ALL) -> QuerySet[Conversation]:
    """The caller's conversations, newest first by id, by code point and as a string, as the contract lists them."""
    rows = Conversation.objects.visible_to(actor).order_by("-external_id")
    if page.after is not None:
        rows = rows.filter(external_id__lt=page.after)
    return rows[: page.rows]


def find_conversation(actor: Caller, external_id: str, *, lock: bool = False) -> Conversation | None:
    """The caller's conversation of that id, or None."""
    where = {**ConversationQuerySet.owner(actor), "external_id": external_id}
    return compiled_sql.get(Conversation, where, lock=lock)


def get_conversation(actor: Caller, external_id: str, *, lock: bool = False) -> Conversation:
    """The caller's conversation of that id. Raises NotFound, also where the id is another owner's.

    `lock` holds the row until the transaction ends.
    """
    found = find_conversation(actor, external_id, lock=lock)
    if found is None:
        raise NotFound(f"No conversation found with id: {external_id}")
    return found


def get_question(conversation: Conversation, external_id: str) -> Message:
    """The question of that id, without its content. Raises NotFound, also for the id of an answer."""
    where = {"conversation": conversation, "external_id": external_id, "role": Role.USER}
    found = Message.objects.filter(**where).defer("content").first()
    if found is None:
        raise NotFound(f"No question found with id: {external_id}")
    return found


def get_message(conversation: Conversation, external_id: str, now: datetime) -> Message:
    """The message of that id, without its content. Raises NotFound, also for an answer that is still being written."""
    where = {"conversation": conversation, "external_id": external_id}
    unread = ("content", "feedback", "parent__content", "parent__feedback")
    found = Message.objects.filter(**where).select_related("parent").defer(*unread).first()
    if found is None or _is_unfinished(found, now):
        raise NotFound(f"No message found with id: {external_id}")
    return found


def _is_unfinished(message: Message, now: datetime) -> bool:
    """As `Tree.is_unfinished` has it, for one message and the one above it."""
    question = message.parent
    if message.role == Role.USER or question is None or not lease_lives(question.lease_expires_at, now):
        return False
    return question.continues is None and message.attempt == question.attempt


def related_documents(conversation: Conversation) -> QuerySet[RelatedDocument]:
    """What tools found for the answers of a conversation, by source id from the last to the first."""
    return RelatedDocument.objects.filter(conversation=conversation).order_by("-source_id")


def get_related_document(conversation: Conversation, source_id: str) -> RelatedDocument:
    """The document of that source id. Raises NotFound."""
    found = related_documents(conversation).filter(source_id=source_id).first()
    if found is None:
        raise NotFound(f"No related document found with id: {source_id}")
    return found


def read_tree(conversation: Conversation, now: datetime) -> Tree:
    """All messages of a conversation without their bodies, in one query."""
    rows = compiled_sql.select(Message, NODE_COLUMNS, {"conversation_id": conversation.pk})
    return Tree.of((Node(*row) for row in rows), now)


def read_contents(nodes: Sequence[Node]) -> dict[int, list[StoredBlock]]:
    """The stored content of exactly these messages, in one query."""
    return compiled_sql.documents(Message, "content", [node.pk for node in nodes])


def stored_answer(
    conversation: Conversation, question_external_id: str, row: Message, children: Iterable[str] = ()
) -> Answer:
    """An answer as its turn left it; `children` are the messages below it."""
    return Answer(
        conversation_external_id=conversation.external_id,
        created_at=conversation.created_at,
        bot_id=conversation.bot_id,
        external_id=row.external_id,
        question_external_id=question_external_id,
        model=row.model,
        stop_reason=row.stop_reason,
        content=row.content,
        children=tuple(children),
        attempt=row.attempt,
    )

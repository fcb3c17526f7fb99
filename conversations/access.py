"""Access to conversations: only here are rows fetched by id, and only for a caller who may see them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime

from django.db.models import QuerySet

from bedrock_chat.database import compiled_sql
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.paging import ALL, Page
from bots import chatting
from bots.chatting import ChattingBot
from conversations.content import rounds
from conversations.content.blocks import StoredBlock
from conversations.content.rounds import Log, StoredRound
from conversations.models import Conversation, ConversationQuerySet, Message, RelatedDocument, Role, lease_lives
from conversations.tree import Node, Tree

NODE_COLUMNS = tuple(field.name for field in fields(Node))


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer, with all that clients get of it. `children` are the external ids of the messages below it.

    `warnings` are those of the turn that has just written it, and `headers` fields of its response. They are not
    stored.
    """

    conversation_external_id: str
    created_at: datetime
    bot_id: str | None
    external_id: str
    question_external_id: str
    model: str
    stop_reason: str
    content: list[StoredBlock]
    thinking_log: Log | None = None
    children: tuple[str, ...] = ()
    attempt: int = 0
    pk: int | None = None
    warnings: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def visible_conversations(actor: Caller, page: Page = ALL) -> QuerySet[Conversation]:
    """The caller's conversations in the contract's order: by id, the last first, as strings by code point."""
    rows = Conversation.objects.visible_to(actor).order_by("-external_id")
    if page.after is not None:
        rows = rows.filter(external_id__lt=page.after)
    return rows[: page.rows]


def find_conversation(actor: Caller, external_id: str, *, lock: bool = False) -> Conversation | None:
    """The caller's conversation of that id, or None."""
    where = {**ConversationQuerySet.owner(actor), "external_id": external_id}
    return compiled_sql.get(Conversation, where, lock=lock)


def lock_conversation(actor: Caller, external_id: str) -> tuple[Conversation | None, Tree]:
    """The caller's conversation of that id, or None, and its tree, which is empty then.

    The row is locked until the transaction ends. The tree and its clock are read when the lock has been given.
    """
    where = {**ConversationQuerySet.owner(actor), "external_id": external_id}
    with compiled_sql.Batch() as batch:
        conversation = batch.get(Conversation, where, lock=True)
        rows = batch.select_of(conversation, Message, NODE_COLUMNS, "conversation_id")
        now = batch.now()
    return conversation.result, Tree.of((Node(*row) for row in rows.result), now.result)


def get_conversation(actor: Caller, external_id: str, *, lock: bool = False) -> Conversation:
    """The caller's conversation of that id. Raises NotFound, also if the id is another owner's.

    With `lock`, the row is locked until the transaction ends.
    """
    conversation = find_conversation(actor, external_id, lock=lock)
    if conversation is None:
        raise no_conversation(external_id)
    return conversation


def bot_of(conversation: Conversation, actor: Caller) -> ChattingBot | None:
    """The bot of a conversation, if it has one that the caller may use now."""
    return None if conversation.bot_id is None else chatting.find(conversation.bot_id, actor=actor)


def no_conversation(external_id: str) -> NotFound:
    return NotFound(f"No conversation found with id: {external_id}")


def get_question(conversation: Conversation, external_id: str) -> Message:
    """The question of that id, without its content. Raises NotFound, also for the id of an answer."""
    where = {"conversation": conversation, "external_id": external_id, "role": Role.USER}
    question = Message.objects.filter(**where).defer("content").first()
    if question is None:
        raise NotFound(f"No question found with id: {external_id}")
    return question


def get_message(conversation: Conversation, external_id: str, now: datetime) -> Message:
    """The message of that id, without its content. Raises NotFound, also for an answer that is still being written."""
    where = {"conversation": conversation, "external_id": external_id}
    unread = ("content", "feedback", "parent__content", "parent__feedback")
    message = Message.objects.filter(**where).select_related("parent").defer(*unread).first()
    if message is None or _is_unfinished(message, now):
        raise NotFound(f"No message found with id: {external_id}")
    return message


def _is_unfinished(message: Message, now: datetime) -> bool:
    """Whether the turn that writes this answer still runs. The same rule as `Tree.is_unfinished`, without the tree."""
    question = message.parent
    if message.role == Role.USER or question is None or not lease_lives(question.lease_expires_at, now):
        return False
    return question.continues is None and message.attempt == question.attempt


def related_documents(conversation: Conversation) -> QuerySet[RelatedDocument]:
    """The documents that tools found for a conversation's answers, by source id, the last first."""
    return RelatedDocument.objects.filter(conversation=conversation).order_by("-source_id")


def documents_of_answer(answer: Answer) -> dict[str, list[RelatedDocument]]:
    """Tool use's id → the documents that it found for an answer, in their order. One query."""
    rows = RelatedDocument.objects.filter(answer=answer.pk).order_by("pk") if answer.pk else ()
    documents: dict[str, list[RelatedDocument]] = {}
    for row in rows:
        documents.setdefault(row.source_id.rpartition("@")[0] or row.source_id, []).append(row)
    return documents


def passages_of_answer(answer: Node) -> list[RelatedDocument]:
    """What an answer's model was told of its bot's knowledge, in the order in which it was told. One query."""
    prefix = f"{answer.external_id}@"
    rows = RelatedDocument.objects.filter(answer=answer.pk)
    passages = [row for row in rows if row.source_id.startswith(prefix) and row.source_id[len(prefix) :].isdecimal()]
    return sorted(passages, key=lambda row: int(row.source_id[len(prefix) :]))


def ids_with_documents(conversation_pk: int) -> set[str]:
    """The ids of tool uses that have found documents, in all branches of a conversation. One query."""
    rows = RelatedDocument.objects.filter(conversation=conversation_pk).values_list("source_id", flat=True)
    return {source_id.rpartition("@")[0] or source_id for source_id in rows}


def get_related_document(conversation: Conversation, source_id: str) -> RelatedDocument:
    """The document of that source id. Raises NotFound."""
    document = related_documents(conversation).filter(source_id=source_id).first()
    if document is None:
        raise NotFound(f"No related document found with id: {source_id}")
    return document


def read_tree(conversation: Conversation, now: datetime) -> Tree:
    """All messages of a conversation without their bodies, in one query."""
    rows = compiled_sql.select(Message, NODE_COLUMNS, {"conversation_id": conversation.pk})
    return Tree.of((Node(*row) for row in rows), now)


def read_contents(nodes: Sequence[Node]) -> dict[int, list[StoredBlock]]:
    """The stored content of exactly these messages, in one query."""
    return compiled_sql.documents(Message, "content", [node.pk for node in nodes])


def read_logs(answers: Iterable[Node]) -> dict[int, Log]:
    """Key → log, of those of these answers before which tools have run. One query, none without answers."""
    keys = [node.pk for node in answers]
    if not keys:
        return {}
    rows = Message.objects.filter(pk__in=keys, thinking_log__isnull=False).values_list("pk", "thinking_log")
    return {pk: rounds.readable_log(log) for pk, log in rows}


def read_rounds(question: Node) -> list[StoredRound]:
    """The rounds of a question whose answer is not there, or was cut."""
    return rounds.readable(Message.objects.values_list("rounds", flat=True).get(pk=question.pk))


def read_answer(conversation: Conversation, tree: Tree, answer: Node) -> Answer:
    """An answer of the tree, with the messages below it. Raises NotFound if the conversation was deleted meanwhile."""
    row = compiled_sql.get(Message, {"pk": answer.pk})
    if row is None:
        raise no_conversation(conversation.external_id)
    children = (child.external_id for child in tree.visible_children(answer.pk))
    return stored_answer(conversation, tree.question_of(answer).external_id, row, children)


def stored_answer(
    conversation: Conversation,
    question_external_id: str,
    row: Message,
    children: Iterable[str] = (),
    warnings: tuple[str, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The Answer of a message's row. `children` are the external ids of the messages below it."""
    return Answer(
        conversation_external_id=conversation.external_id,
        created_at=conversation.created_at,
        bot_id=conversation.bot_id,
        external_id=row.external_id,
        question_external_id=question_external_id,
        model=row.model,
        stop_reason=row.stop_reason,
        content=row.content,
        thinking_log=row.thinking_log,
        children=tuple(children),
        attempt=row.attempt,
        pk=row.pk,
        warnings=warnings,
        headers=headers or {},
    )

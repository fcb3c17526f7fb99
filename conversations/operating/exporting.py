"""Conversations as JSON lines, for operators: what was said, what was thought of it, what it cost, and by which model.

A line is made in pieces of a few messages, so that neither many conversations nor a long one are in memory at once.
Files are named by their SHA-256. Whoever is being erased is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.database.keys_by_time import Keys, keys_between
from bedrock_chat.ledger import zones
from bedrock_chat.ledger.zones import Span
from bedrock_chat.wire.moments import milliseconds
from bedrock_chat.wire.renderers import dumps
from conversations import access
from conversations.models import Conversation, Message
from conversations.operating import costs
from conversations.operating.costs import TOKENS, Cost

CONVERSATIONS_AT_A_TIME: Final = 20
MESSAGES_AT_A_TIME: Final = 50
DOCUMENTS_AT_A_TIME: Final = 50


@dataclass(frozen=True, slots=True)
class Filters:
    """Which conversations: empty ids filter nothing. Days are of the setting REPORT_TIME_ZONE, both included or both
    None, and are those on which a conversation was begun.
    """

    bot_id: str = ""
    user_id: str = ""
    publication_id: str = ""
    first_day: date | None = None
    last_day: date | None = None

    @property
    def span(self) -> Span | None:
        if self.first_day is None or self.last_day is None:
            return None
        return zones.days(self.first_day, self.last_day)

    @property
    def ids(self) -> dict[str, str]:
        """Column → id, of those that are set."""
        columns = {"bot_id": self.bot_id, "user_id": self.user_id, "publication_id": self.publication_id}
        return {column: value for column, value in columns.items() if value}

    def rows(self) -> QuerySet[Conversation]:
        rows: QuerySet[Conversation] = Conversation.objects.open_to_operators().filter(**self.ids)
        if self.span is not None:
            rows = rows.filter(created_at__gte=self.span.start, created_at__lt=self.span.end)
        return rows

    def keys(self) -> Keys:
        """The keys between which the conversations are that there are now."""
        every = Conversation.objects.order_by("pk").values_list("pk", flat=True)
        first, last = every.first() or 1, every.last() or 0
        if self.span is not None:
            bounds = keys_between(Conversation.objects.all(), "created_at", self.span.start, self.span.end)
            first, last = max(first, bounds.first), min(last, bounds.last)
        return Keys(first, last)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes. `key` is that of the conversation whose line they end, or 0 in the middle of one."""

    data: bytes
    key: int = 0


def pieces(filters: Filters, keys: Keys) -> Iterator[Piece]:
    """The lines, from the oldest conversation to the newest. Who hands a piece to somebody slow lets go before."""
    rows = filters.rows().filter(pk__lte=keys.last).order_by("pk")
    after = keys.first - 1
    while batch := list(rows.filter(pk__gt=after)[:CONVERSATIONS_AT_A_TIME]):
        spent, now = costs.of_questions(batch), database_now()
        for conversation in batch:
            of_this = {question: by_model for (key, question), by_model in spent.items() if key == conversation.pk}
            yield from (Piece(data) for data in _line(conversation, of_this, now))
            yield Piece(b"\n", conversation.pk)
        after = batch[-1].pk


def let_go() -> None:
    """Gives the connection back to its pool, but inside a transaction of whoever calls: a test's, for instance."""
    if not connection.in_atomic_block:
        release_connection()


def _line(conversation: Conversation, spent: dict[str, dict[str, Cost]], now: datetime) -> Iterator[bytes]:
    """One JSON object without the end of its line, in pieces."""
    total = Cost()
    for cost in (cost for by_model in spent.values() for cost in by_model.values()):
        total.add(cost.calls, cost.tokens, cost.price, cost.unpriced)
    head = {
        "id": conversation.external_id,
        "userId": conversation.user_id,
        "publicationId": conversation.publication_id,
        "botId": conversation.bot_id,
        "title": conversation.title,
        "model": conversation.model,
        "createTime": milliseconds(conversation.created_at),
        "updateTime": milliseconds(conversation.updated_at),
        "feedback": conversation.feedback,
        "cost": cost_document(total),
    }
    yield dumps(head)[:-1] + b',"messages":'
    yield from _list(_messages(conversation, spent, now))
    yield b',"relatedDocuments":'
    yield from _list(_documents(conversation))
    yield b"}"


def _list(batches: Iterable[Sequence[dict[str, Any]]]) -> Iterator[bytes]:
    """A JSON list, a piece for each batch."""
    yield b"["
    is_first = True
    for batch in batches:
        if batch:
            yield (b"" if is_first else b",") + dumps(batch)[1:-1]
            is_first = False
    yield b"]"


def _messages(
    conversation: Conversation, spent: dict[str, dict[str, Cost]], now: datetime
) -> Iterator[list[dict[str, Any]]]:
    """What clients see of the tree, in the order in which it was written, some at a time. A question has its cost."""
    tree = access.read_tree(conversation, now)
    nodes = list(tree.visible())
    for first in range(0, len(nodes), MESSAGES_AT_A_TIME):
        some = nodes[first : first + MESSAGES_AT_A_TIME]
        columns = ("pk", "created_at", "content", "feedback", "thinking_log")
        rows = Message.objects.filter(pk__in=[node.pk for node in some]).values_list(*columns)
        by_key = {pk: row for pk, *row in rows}
        documents = []
        for node in (node for node in some if node.pk in by_key):  # the others were deleted meanwhile
            created_at, content, feedback, log = by_key[node.pk]
            parent = tree.parent_of(node)
            document = {
                "id": node.external_id,
                "parent": None if parent is None else parent.external_id,
                "role": node.role,
                "model": node.model,
                "createTime": milliseconds(created_at),
                "stopReason": node.stop_reason or None,
                "content": content,
                "feedback": feedback,
            }
            if log:
                document["thinkingLog"] = log
            if node.is_question:
                by_model = spent.get(node.external_id, {})
                document["cost"] = {model: cost_document(cost) for model, cost in sorted(by_model.items())}
            documents.append(document)
        yield documents


def _documents(conversation: Conversation) -> Iterator[list[dict[str, Any]]]:
    after = 0
    rows = conversation.related_documents.order_by("pk").select_related("answer")
    rows = rows.only(
        "answer", "source_id", "source_name", "source_link", "page_number", "content", "answer__external_id"
    )
    while batch := list(rows.filter(pk__gt=after)[:DOCUMENTS_AT_A_TIME]):
        yield [
            {
                "answer": row.answer.external_id,
                "sourceId": row.source_id,
                "sourceName": row.source_name,
                "sourceLink": row.source_link,
                "pageNumber": row.page_number,
                "content": row.content,
            }
            for row in batch
        ]
        after = batch[-1].pk


def cost_document(cost: Cost) -> dict[str, Any]:
    """USD as a text, since a float would not keep its digits."""
    names = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
    assert len(names) == len(TOKENS)
    return {
        "price": f"{cost.price:f}",
        "calls": cost.calls,
        "unpricedCalls": cost.unpriced,
        **dict(zip(names, cost.tokens, strict=True)),
    }

"""What people think of answers: the rows with a thumb, and counts by bot and category."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bedrock_chat.database.keys_by_time import keys_between
from bedrock_chat.ledger.zones import Span
from conversations.models import RatedConversation, RatedMessage

MOST_COUNTED: Final = 10_000
"""Thumbs that are counted, the newest ones of the span."""
MOST_ROWS: Final = 100
"""Rows of the counts, the most frequent ones."""


@dataclass(frozen=True, slots=True)
class Count:
    bot_id: str
    category: str
    thumbs_down: int
    thumbs_up: int


@dataclass(frozen=True, slots=True)
class Counts:
    """`is_all` is false where only the newest thumbs are counted; `rows` begin with most thumbs down."""

    rows: Sequence[Count]
    is_all: bool


def counts(span: Span) -> Counts:
    """By bot (empty: without one) and category, of messages and conversations that were begun in a span."""
    down: Counter[tuple[str, str]] = Counter()
    up: Counter[tuple[str, str]] = Counter()
    is_all = True
    for model, bot in ((RatedMessage, "conversation__bot_id"), (RatedConversation, "bot_id")):
        rows = _rated(model, bot, span)
        is_all = is_all and len(rows) <= MOST_COUNTED
        for bot_id, feedback in rows[:MOST_COUNTED]:
            thumbs = up if feedback["thumbsUp"] else down
            thumbs[bot_id or "", feedback["category"]] += 1
    pairs = sorted(down.keys() | up.keys(), key=lambda pair: (-down[pair], -up[pair], pair))
    return Counts([Count(*pair, down[pair], up[pair]) for pair in pairs[:MOST_ROWS]], is_all)


def _rated(model: type[RatedMessage | RatedConversation], bot: str, span: Span) -> list[tuple[Any, Any]]:
    """Bot and feedback, the newest first, one more than is counted."""
    bounds = keys_between(model._default_manager.all(), "created_at", span.start, span.end)
    rows: Any = model._default_manager.filter(
        feedback__isnull=False,
        pk__gte=bounds.first,
        pk__lte=bounds.last,
        created_at__gte=span.start,
        created_at__lt=span.end,
    )
    return list(rows.order_by("-pk").values_list(bot, "feedback")[: MOST_COUNTED + 1])

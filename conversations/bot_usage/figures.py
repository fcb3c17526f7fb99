"""How a bot is used, for its owner: figures and opinions, and never who asked or what was said."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.ledger.rollups.ranking import span_of
from bedrock_chat.ledger.zones import Span
from bots import access, spending
from conversations.models import Conversation, Message

USUAL_DAYS: Final = 30
MOST_OPINIONS: Final = 10_000
"""Opinions that are counted, the newest ones."""
MOST_COMMENTS: Final = 100
"""Comments that are shown, the newest ones."""


@dataclass(slots=True)
class Opinions:
    """What people think of a bot's answers for one reason. `category` is empty where they gave none."""

    category: str
    thumbs_up: int = 0
    thumbs_down: int = 0
    comments: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BotUsage:
    """`uses` are of all time, the rest is of the span."""

    uses: int
    people: int
    days: dict[date, Figures]
    opinions: list[Opinions]


def usage_of(bot_id: str, *, hours: tuple[datetime, datetime] | None, actor: Caller) -> BotUsage:
    """For the bot's owner and Admin. Without hours, of the last thirty days.

    Raises NotFound, and Forbidden for everybody else.
    """
    bot = access.get_editable(actor, bot_id)
    span = span_of(hours, days=USUAL_DAYS)
    uses, people = spending.uses_of(bot), reading.people_of_bot(span, bot.pk)
    days = reading.usage_by_day(span, by=Dimension.BOT, value=bot.pk)
    return BotUsage(uses, people, days, _opinions(bot.pk, span))


def _opinions(bot_id: str, span: Span) -> list[Opinions]:
    """By category. People's own conversations alone: a published API has no thumbs."""
    by_category: defaultdict[str, Opinions] = defaultdict(lambda: Opinions(""))
    shown = 0
    for feedback in _feedback(bot_id, span):
        opinions = by_category[feedback["category"]]
        opinions.category = feedback["category"]
        if feedback["thumbsUp"]:
            opinions.thumbs_up += 1
        else:
            opinions.thumbs_down += 1
        if feedback["comment"] and shown < MOST_COMMENTS:
            opinions.comments.append(feedback["comment"])
            shown += 1
    return [by_category[category] for category in sorted(by_category)]


def _feedback(bot_id: str, span: Span) -> Iterator[Any]:
    """What was thought of messages of the span, the newest first, and of conversations that were begun in it."""
    of_span = {"created_at__gte": span.start, "created_at__lt": span.end, "feedback__isnull": False}
    messages = Message.objects.filter(conversation__bot_id=bot_id, conversation__user__isnull=False, **of_span)
    yield from messages.order_by("-pk").values_list("feedback", flat=True)[:MOST_OPINIONS]
    begun = Conversation.objects.filter(bot_id=bot_id, user__isnull=False, **of_span)
    yield from begun.order_by("-pk").values_list("feedback", flat=True)[:MOST_OPINIONS]

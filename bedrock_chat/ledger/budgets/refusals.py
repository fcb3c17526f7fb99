"""What is said where a budget has no room."""

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings

from bedrock_chat.ledger.budgets import amounts, periods
from bedrock_chat.ledger.budgets.models import PayerKind
from bedrock_chat.ledger.budgets.statements import Counted
from bedrock_chat.wire.errors import BadRequest, TooManyRequests

RESERVED_SECONDS: Final = 5.0
"""When to come again where calls under way have reserved what is left."""
RESERVED_TIME: Final = timedelta(seconds=RESERVED_SECONDS)
WHOSE: Final = {
    PayerKind.USER: "Your budget",
    PayerKind.GROUP: "The budget of your group {}",
    PayerKind.BOT: "The budget of this bot",
    PayerKind.KEY: "The budget of this key",
}


class BudgetExceeded(TooManyRequests):
    """A hard budget has no room for another call. `counter` is the one that is full."""

    counter: Counted | None = None


class BudgetReserved(BudgetExceeded):
    """Calls under way have reserved what is left of it, so that there may be room again soon."""


class BudgetUsedUp(BudgetExceeded):
    """It is used up until its period ends. `reason` is the sentence for who must not know whose money it is."""

    reason: str = ""


class Unpriced(BadRequest):
    """The model has no price, so that a budget in USD cannot bound what it costs."""


def ends_at(counter: Counted) -> datetime:
    """When there is room again, at the latest."""
    return periods.of_label(counter.period, counter.label).ends_at


def refusal_of(counter: Counted, now: datetime) -> BudgetExceeded:
    """The error for a counter that is full."""
    error = _refusal_of(counter, now)
    error.counter = counter
    return error


def _refusal_of(counter: Counted, now: datetime) -> BudgetExceeded:
    whose = WHOSE[PayerKind(counter.payer_kind)].format(counter.payer_id)
    if counter.used < counter.allowance:
        left = amounts.sentence(counter.allowance - counter.used, counter.unit)
        sentence = f"{_named(counter, whose)} has {left} left, which calls under way have reserved; "
        return BudgetReserved(f"{sentence}try again in a moment.", retry_after=RESERVED_SECONDS)
    used = amounts.sentence(counter.used, counter.unit)
    seconds = (ends_at(counter) - now).total_seconds()
    error = BudgetUsedUp(f"{used_up(counter, whose)}: {used} were used.", retry_after=seconds)
    error.reason = f"A budget for this API is used up until {_shown(ends_at(counter))}."
    return error


def used_up(counter: Counted, whose: str) -> str:
    """Which budget is used up, and until when, without a full stop."""
    return f"{_named(counter, whose)} is used up until {_shown(ends_at(counter))}"


def _named(counter: Counted, whose: str) -> str:
    return f"{whose} of {amounts.sentence(counter.allowance, counter.unit)} a {counter.period}"


def _shown(moment: datetime) -> str:
    zone = settings.REPORT_TIME_ZONE
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} ({zone})"

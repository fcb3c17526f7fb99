"""What is said where a budget has no room."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings

from bedrock_chat.ledger.budgets import amounts, periods
from bedrock_chat.ledger.budgets.models import PayerKind
from bedrock_chat.ledger.budgets.statements import Counted
from bedrock_chat.wire.errors import BadRequest, TooManyRequests

RESERVED_SECONDS: Final = 5.0
"""When to come again where calls under way have reserved what is left."""
WHOSE: Final = {
    PayerKind.USER: "Your budget",
    PayerKind.GROUP: "The budget of your group {}",
    PayerKind.BOT: "The budget of this bot",
    PayerKind.KEY: "The budget of this key",
}


class BudgetExceeded(TooManyRequests):
    """A hard budget has no room for another call."""


class BudgetReserved(BudgetExceeded):
    """Calls under way have reserved what is left of it, so that there may be room again soon."""


class BudgetUsedUp(BudgetExceeded):
    """It is used up until its period ends. `reason` is the sentence for who must not know whose money it is."""

    reason: str = ""


class Unpriced(BadRequest):
    """The model has no price, so that a budget in USD cannot bound what it costs."""


def refusal_of(counter: Counted, now: datetime) -> BudgetExceeded:
    """The error for a counter that is full."""
    ends_at = periods.of_label(counter.period, counter.label).ends_at
    until = f"{ends_at.astimezone(ZoneInfo(settings.REPORT_TIME_ZONE)):%Y-%m-%d %H:%M} ({settings.REPORT_TIME_ZONE})"
    whose = WHOSE[PayerKind(counter.payer_kind)].format(counter.payer_id)
    of = f"{whose} of {amounts.sentence(counter.allowance, counter.unit)} a {counter.period}"
    if counter.used < counter.allowance:
        left = amounts.sentence(counter.allowance - counter.used, counter.unit)
        sentence = f"{of} has {left} left, which calls under way have reserved; try again in a moment."
        return BudgetReserved(sentence, retry_after=RESERVED_SECONDS)
    used = amounts.sentence(counter.used, counter.unit)
    error = BudgetUsedUp(
        f"{of} is used up until {until}: {used} were used.", retry_after=(ends_at - now).total_seconds()
    )
    error.reason = f"A budget for this API is used up until {until}."
    return error

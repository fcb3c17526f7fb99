"""The days that a page is about, as its address names them: `days=7`, or `from=2026-03-01&to=2026-03-05`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

from django.db.models import TextChoices

from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger import zones
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.ledger.zones import DAY, Span
from bedrock_chat.wire.errors import BadRequest

DAYS: Final = "days"
FROM: Final = "from"
TO: Final = "to"
PARAMETERS: Final = frozenset({DAYS, FROM, TO})
MOST_DAYS: Final = 366


class Choice(TextChoices):
    """Numbers of days, the last of which is today."""

    TODAY = "1", "Today"
    WEEK = "7", "7 days"
    MONTH = "30", "30 days"
    QUARTER = "90", "90 days"


@dataclass(frozen=True)
class Period:
    """Days of the setting REPORT_TIME_ZONE, both included, and the same as a span of UTC.

    `query` is how the period is written in addresses.
    """

    first: date
    last: date
    span: Span
    query: str

    @property
    def days(self) -> list[date]:
        return [self.first + number * DAY for number in range((self.last - self.first).days + 1)]

    @property
    def label(self) -> str:
        """As a sentence names it: `2026-03-01` or `2026-03-01 – 2026-03-05`."""
        return f"{self.first}" if self.first == self.last else f"{self.first} – {self.last}"

    @cached_property
    def models_by_day(self) -> dict[date, dict[str, Figures]]:
        """Day → model → figures of all calls. Several panels show parts of it, so it is read once."""
        return reading.usage_by_day_and_value(self.span, by=Dimension.MODEL)

    @cached_property
    def refusals(self) -> dict[str, int]:
        """Limit of ours → how many requests it refused."""
        return reading.refusals(self.span)

    @cached_property
    def total(self) -> Figures:
        return Figures.total(figures for by_model in self.models_by_day.values() for figures in by_model.values())


def period_of(parameters: Mapping[str, str], *, default: Choice | None) -> Period | None:
    """The period that parameters name, or else the default, or None. Raises BadRequest for what is no period."""
    if not PARAMETERS & parameters.keys():
        return None if default is None else _last_days(int(default.value))
    if DAYS in parameters:
        if PARAMETERS & parameters.keys() != {DAYS} or parameters[DAYS] not in Choice.values:
            raise BadRequest(f"A period is {', '.join(Choice.values[:-1])} or {Choice.values[-1]} days, or two dates.")
        return _last_days(int(parameters[DAYS]))
    first, last = _date(parameters.get(FROM, "")), _date(parameters.get(TO, ""))
    if first > last or (last - first).days >= MOST_DAYS:
        raise BadRequest(f"A period begins before it ends, and has at most {MOST_DAYS} days.")
    return Period(first, last, zones.days(first, last), f"{FROM}={first}&{TO}={last}")


def query_of_day(day: date) -> str:
    """How one day is written in addresses."""
    return f"{FROM}={day}&{TO}={day}"


def _last_days(number: int) -> Period:
    today = zones.day_of(database_now())
    first = today - timedelta(days=number - 1)
    return Period(first, today, zones.days(first, today), f"{DAYS}={number}")


def _date(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise BadRequest("A date is written YYYY-MM-DD.") from None
    if not date(1971, 1, 1) <= day <= date(9998, 12, 31) or len(text) != 10:
        raise BadRequest("There are no figures of such a day.")
    return day

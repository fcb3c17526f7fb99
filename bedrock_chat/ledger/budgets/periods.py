"""Days, weeks and months of the setting REPORT_TIME_ZONE. Pure but for the setting."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType

from django.conf import settings

from bedrock_chat.ledger.budgets.models import Period
from bedrock_chat.ledger.zones import DAY, day_of, month_after, month_of, start_of


@dataclass(frozen=True, slots=True)
class Span:
    """A period: its label, and the times from which on and before which it is."""

    label: str
    starts_at: datetime
    ends_at: datetime


def present(moment: datetime) -> Mapping[Period, Span]:
    """The day, the week and the month that a moment lies in."""
    return _of_day(day_of(moment), settings.REPORT_TIME_ZONE)


def of_label(period: str, label: str) -> Span:
    """The period of a label, as the zone has it now."""
    match period:
        case Period.DAY:
            day = date.fromisoformat(label)
        case Period.WEEK:
            year, _, week = label.partition("-W")
            day = date.fromisocalendar(int(year), int(week), 1)
        case _:
            day = date.fromisoformat(f"{label}-01")
    return _of_day(day, settings.REPORT_TIME_ZONE)[Period(period)]


@lru_cache(maxsize=64)
def _of_day(day: date, _zone: str) -> Mapping[Period, Span]:
    """The periods of a day; the zone, which `start_of` reads, is what they are remembered by."""
    monday, month = day - timedelta(days=day.weekday()), month_of(day)
    year, week, _ = day.isocalendar()
    return MappingProxyType(
        {
            Period.DAY: _span(day.isoformat(), day, day + DAY),
            Period.WEEK: _span(f"{year:04d}-W{week:02d}", monday, monday + timedelta(days=7)),
            Period.MONTH: _span(day.strftime("%Y-%m"), month, month_after(month)),
        }
    )


def _span(label: str, first: date, following: date) -> Span:
    return Span(label, start_of(first), start_of(following))

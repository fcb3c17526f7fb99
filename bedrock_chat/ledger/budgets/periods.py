"""Days, weeks and months of the setting REPORT_TIME_ZONE. Pure but for the setting."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from django.conf import settings

from bedrock_chat.ledger.budgets.models import Period


@dataclass(frozen=True, slots=True)
class Span:
    """A period: its label, and the times from which on and before which it is."""

    label: str
    starts_at: datetime
    ends_at: datetime


def present(moment: datetime) -> Mapping[Period, Span]:
    """The day, the week and the month that a moment lies in."""
    zone = settings.REPORT_TIME_ZONE
    return _of_day(moment.astimezone(ZoneInfo(zone)).date(), zone)


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
def _of_day(day: date, zone: str) -> Mapping[Period, Span]:
    monday = day - timedelta(days=day.weekday())
    first = day.replace(day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    year, week, _ = day.isocalendar()
    return MappingProxyType(
        {
            Period.DAY: _span(day.isoformat(), day, day + timedelta(days=1), zone),
            Period.WEEK: _span(f"{year:04d}-W{week:02d}", monday, monday + timedelta(days=7), zone),
            Period.MONTH: _span(day.strftime("%Y-%m"), first, next_first, zone),
        }
    )


def _span(label: str, first: date, following: date, zone: str) -> Span:
    return Span(label, _start_of(first, zone), _start_of(following, zone))


def _start_of(day: date, zone: str) -> datetime:
    """When a day begins. Where clocks skip midnight, it begins with the first moment that there is."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)

"""Hours, days and months of the setting REPORT_TIME_ZONE, as times of UTC. Pure but for the setting.

Offsets of zones are whole quarter hours, so everything here begins with a quarter hour of UTC.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings

QUARTER: Final = timedelta(minutes=15)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
THIRD: Final = 10
"""Days of the first and the second third of a month; the last one has the rest."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` on, before `end`: two beginnings of quarter hours, in UTC."""

    start: datetime
    end: datetime


def zone() -> ZoneInfo:
    return ZoneInfo(settings.REPORT_TIME_ZONE)


def quarter_of(moment: datetime) -> datetime:
    """The beginning of the quarter hour that a moment lies in."""
    return moment.astimezone(UTC) - (moment - EPOCH) % QUARTER


def day_of(moment: datetime) -> date:
    return moment.astimezone(zone()).date()


def written(moment: datetime) -> str:
    """A moment as people read it, with the name of the zone: `2026-03-01 09:30 JST`."""
    return f"{moment.astimezone(zone()):%Y-%m-%d %H:%M} {name_at(moment)}"


def name_at(moment: datetime) -> str:
    """The zone's short name at a moment: `JST`. Zones that have none are named by their offset or in full."""
    name = moment.astimezone(zone()).tzname()
    return settings.REPORT_TIME_ZONE if name is None or name.startswith(("+", "-")) else name


def start_of(day: date) -> datetime:
    """When a day begins. Where clocks skip midnight, it begins with the first moment that there is."""
    return _instant(datetime.combine(day, time()))


def hours(first: datetime, last: datetime) -> Span:
    """From the beginning of one hour of the zone to the end of another. Both are naive. Clocks that are set back have
    an hour twice: it is meant whole.
    """
    return Span(_instant(first), _instant(last + timedelta(hours=1)))


def days(first: date, last: date) -> Span:
    """Days of the zone, the last one included."""
    return Span(start_of(first), start_of(last + DAY))


def month_of(day: date) -> date:
    """The first day of a day's month."""
    return day.replace(day=1)


def month_after(month: date) -> date:
    """The first day of the month after the one that begins on `month`."""
    return month_of(month + timedelta(days=32))


def third_of(day: date) -> date:
    """The first day of the third of a month that a day lies in: the 1st, the 11th or the 21st."""
    return day.replace(day=1 + THIRD * min((day.day - 1) // THIRD, 2))


def third_after(third: date) -> date:
    """The first day of the third after the one that begins on `third`."""
    return third + THIRD * DAY if third.day <= THIRD + 1 else month_after(third)


def _instant(local: datetime) -> datetime:
    return local.replace(tzinfo=zone()).astimezone(UTC)

"""How a span of time is put together of sums: of which quarter hours, days and months, added or taken off. Pure.

Sums are whole numbers, so a month but for its last days is the month's sums less those of these days. Of two ways the
one with fewer sums is taken: a report by person would otherwise read up to sixty days of five thousand people each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from django.conf import settings

from bedrock_chat.ledger.rollups.models import Grain, Progress
from bedrock_chat.ledger.zones import DAY, EPOCH, Span, day_of, month_after, month_of, start_of


@dataclass(frozen=True, slots=True)
class Quarters:
    """Quarter hours from `start` on, before `end`, which are added, or taken off where `sign` is -1."""

    start: datetime
    end: datetime
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Days:
    """The sums of days, or of months, from `first` on, before `end`. Months begin with their first days."""

    first: date
    end: date
    sign: int = 1
    grain: Grain = Grain.DAY


Piece = Quarters | Days


def made_part(span: Span, progress: Progress | None) -> tuple[Span, Span]:
    """The part of a span that has sums, and the rest, which is read from the ledger. Either may be empty."""
    made_until = EPOCH if progress is None or progress.made_until is None else progress.made_until
    made = Span(span.start, min(max(span.start, made_until), span.end))
    return made, Span(made.end, max(made.end, span.end))


def plain(span: Span, progress: Progress | None) -> Iterator[Piece]:
    """The whole days of a span that has sums, and the quarter hours at its ends. Nothing is taken off."""
    first = day_of(span.start)
    if start_of(first) < span.start:
        first += DAY
    return _of_days(span, first, min(day_of(span.end), _days_until(progress)))


def fewest(span: Span, progress: Progress | None) -> Iterator[Piece]:
    """The months, days and quarter hours that lead to the sums of a span with the least to read."""
    days_until = _days_until(progress)
    for piece in _of_days(span, _nearest_day(span.start, days_until), _nearest_day(span.end, days_until)):
        if isinstance(piece, Days) and progress is not None and progress.months_until is not None:
            yield from _of_months(piece, progress.months_until)
        else:
            yield piece


def _of_days(span: Span, first: date, end: date) -> Iterator[Piece]:
    """A span as days, and the quarter hours by which the days are too few or too many."""
    if first >= end:
        if span.start < span.end:
            yield Quarters(span.start, span.end)
        return
    yield Days(first, end)
    for start, stop in ((span.start, start_of(first)), (start_of(end), span.end)):
        if start != stop:
            yield Quarters(min(start, stop), max(start, stop), sign=1 if start < stop else -1)


def _of_months(days: Days, months_until: date) -> Iterator[Days]:
    """Some days as months, and the days by which the months are too few or too many."""
    first, end = _nearest_month(days.first, months_until), _nearest_month(days.end, months_until)
    if first >= end:
        yield days
        return
    yield Days(first, end, grain=Grain.MONTH)
    for start, stop in ((days.first, first), (end, days.end)):
        if start != stop:
            yield Days(min(start, stop), max(start, stop), sign=1 if start < stop else -1)


def _days_until(progress: Progress | None) -> date:
    """Days before it have sums in today's zone."""
    if progress is None or progress.days_until is None or progress.zone != settings.REPORT_TIME_ZONE:
        return date.min
    return progress.days_until


def _nearest_day(moment: datetime, days_until: date) -> date:
    """Of the days that have sums, and the one after them: the one whose beginning is nearest."""
    day = day_of(moment)
    if day >= days_until:
        return days_until
    return day if moment - start_of(day) <= start_of(day + DAY) - moment else day + DAY


def _nearest_month(day: date, months_until: date) -> date:
    """Of the beginnings of months that have sums, and their end: the nearest."""
    if day >= months_until:
        return months_until
    month, end = month_of(day), min(month_after(month_of(day)), months_until)
    return month if day - month <= end - day else end

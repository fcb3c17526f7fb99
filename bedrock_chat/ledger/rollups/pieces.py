"""How a span of time is put together of sums: of which quarter hours, days and months, added or taken off. Pure.

Sums are whole numbers, so a month but for its last days is the month's sums less those of these days. A month may begin
and end up to fifteen days away from the span: of these, a third of a month is taken at once, which leaves five days.
A report by person would otherwise read up to sixty days of five thousand people each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.conf import settings

from bedrock_chat.ledger.rollups.models import Grain, Progress
from bedrock_chat.ledger.zones import (
    DAY,
    EPOCH,
    Span,
    day_of,
    month_after,
    month_of,
    start_of,
    third_after,
    third_of,
)


@dataclass(frozen=True, slots=True)
class Quarters:
    """Quarter hours from `start` on, before `end`, which are added, or taken off where `sign` is -1."""

    start: datetime
    end: datetime
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Days:
    """The sums of days, thirds or months, from `first` on, before `end`. The last ones may not be over."""

    first: date
    end: date
    sign: int = 1
    grain: Grain = Grain.DAY


Piece = Quarters | Days
Whole = tuple[Grain, Callable[[date], date]]

WHOLES: Final[tuple[Whole, ...]] = ((Grain.MONTH, month_of), (Grain.THIRD, third_of))
"""What has sums of several days, from large to small, and the first day of the one that a day lies in."""
AFTER: Final[Mapping[Grain, Callable[[date], date]]] = {
    Grain.DAY: lambda day: day + DAY,
    Grain.THIRD: third_after,
    Grain.MONTH: month_after,
}
"""The first day of what comes after the one that begins on a day."""


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
    """The months, thirds, days and quarter hours that lead to the sums of a span, few of each."""
    days_until = _days_until(progress)
    for piece in _of_days(span, _nearest_day(span.start, days_until), _nearest_day(span.end, days_until)):
        if isinstance(piece, Days) and progress is not None and progress.months_until is not None:
            yield from _of_wholes(piece, WHOLES, progress.months_until)
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


def _of_wholes(days: Days, wholes: Sequence[Whole], until: date) -> list[Days]:
    """Some days as months or thirds, and the days by which these are too few or too many as what is smaller; or as what
    is smaller alone, if that is fewer sums.
    """
    if not wholes:
        return [days]
    (grain, begin), *smaller = wholes
    without = _of_wholes(days, smaller, until)
    first, end = (_nearest(day, begin, AFTER[grain], until) for day in (days.first, days.end))
    if first >= end:
        return without
    parts = [Days(first, end, days.sign, grain)]
    for start, stop in ((days.first, first), (end, days.end)):
        if start != stop:
            sign = days.sign if start < stop else -days.sign
            parts += _of_wholes(Days(min(start, stop), max(start, stop), sign), smaller, until)
    return min(parts, without, key=_sums_in)


def _sums_in(parts: Sequence[Days]) -> int:
    """How many sums the parts have of each value."""
    count = 0
    for part in parts:
        day = part.first
        while day < part.end:
            day = AFTER[part.grain](day)
            count += 1
    return count


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


def _nearest(day: date, begin: Callable[[date], date], after: Callable[[date], date], until: date) -> date:
    """Of the beginnings of months, or of thirds, that have sums, and the end of the last: the nearest."""
    if day >= until:
        return until
    first = begin(day)
    end = min(after(first), until)
    return first if day - first <= end - day else end

"""A span is put together of few sums, and of exactly the quarter hours that lie in it."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from bedrock_chat.ledger.rollups import pieces
from bedrock_chat.ledger.rollups.models import Grain, Progress
from bedrock_chat.ledger.rollups.pieces import Days, Piece, Quarters
from bedrock_chat.ledger.zones import DAY, QUARTER, Span, month_after, start_of, third_after, third_of

DAYS_UNTIL = date(2026, 4, 12)
MADE_UNTIL = datetime(2026, 4, 12, 17, 15, tzinfo=UTC)
FIRST = datetime(2024, 4, 1, tzinfo=UTC)
BEGIN_AND_AFTER: dict[Grain, tuple[Callable[[date], date], Callable[[date], date]]] = {
    Grain.DAY: (lambda day: day, lambda day: day + DAY),
    Grain.THIRD: (lambda day: day.replace(day=max(first for first in (1, 11, 21) if first <= day.day)), third_after),
    Grain.MONTH: (lambda day: day.replace(day=1), month_after),
}


def progress(zone: str) -> Progress:
    return Progress(zone=zone, made_until=MADE_UNTIL, days_until=DAYS_UNTIL, months_until=DAYS_UNTIL)


def quarter_hours(parts: Iterable[Piece]) -> dict[datetime, int]:
    """How often each quarter hour is counted in some pieces, without those that are counted no more than taken off."""
    counts: Counter[datetime] = Counter()
    for piece in parts:
        for span in _spans(piece):
            at = span.start
            while at < span.end:
                counts[at] += piece.sign
                at += QUARTER
    return {at: count for at, count in counts.items() if count}


def _spans(piece: Piece) -> Iterable[Span]:
    """What rows a piece reads, as the tables have them: a month or a third of one as far as its days are made."""
    if isinstance(piece, Quarters):
        yield Span(piece.start, piece.end)
        return
    begin, after_of = BEGIN_AND_AFTER[piece.grain]
    day = piece.first
    assert day == begin(day)
    while day < piece.end:
        after = after_of(day)
        yield Span(start_of(day), start_of(min(after, DAYS_UNTIL)))
        day = after


def random_span(rng: random.Random, longest: timedelta) -> Span:
    quarters = (MADE_UNTIL - FIRST) // QUARTER
    first = rng.randrange(quarters)
    length = 1 + rng.randrange(min(quarters - first, longest // QUARTER))
    start = FIRST + first * QUARTER
    return Span(start, start + length * QUARTER)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe"])
def test_every_way_has_each_quarter_hour_of_the_span_once_and_no_other(zone: str, settings: Any) -> None:
    settings.REPORT_TIME_ZONE = zone
    rng = random.Random(zone)
    for longest in [timedelta(days=2)] * 20 + [timedelta(days=100)] * 20 + [timedelta(days=740)] * 3:
        span = random_span(rng, longest)
        whole = {span.start + QUARTER * number: 1 for number in range((span.end - span.start) // QUARTER)}
        assert quarter_hours(pieces.plain(span, progress(zone))) == whole
        assert quarter_hours(pieces.fewest(span, progress(zone))) == whole


def test_a_month_has_three_thirds_of_ten_days_and_the_rest() -> None:
    for number in range(3 * 366):
        day = FIRST.date() + number * DAY
        third = third_of(day)
        assert third == BEGIN_AND_AFTER[Grain.THIRD][0](day)
        assert third <= day < third_after(third)
        assert third_of(third_after(third)) == third_after(third)
        assert 8 <= (third_after(third) - third).days <= 11


def test_no_span_reads_more_than_a_few_sums(settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "UTC"
    rng = random.Random(1)
    for _ in range(1000):
        read: Counter[str] = Counter()
        for piece in pieces.fewest(random_span(rng, timedelta(days=730)), progress("UTC")):
            if isinstance(piece, Quarters):
                read["quarter hours"] += (piece.end - piece.start) // QUARTER
            else:
                read[piece.grain] += sum(1 for _ in _spans(piece))
        assert read["quarter hours"] <= 48 + 96  # half a day, and at the other end the day that has no sum yet
        assert read[Grain.DAY] <= 11  # half a third at each end
        assert read[Grain.THIRD] <= 3
        assert read[Grain.MONTH] <= 25


def test_a_few_days_are_read_as_these_days_wherever_they_lie(settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "UTC"
    for number in range(365):
        first = FIRST.date() + number * DAY
        for end in (first + DAY, first + 2 * DAY, first + 3 * DAY):
            assert [*pieces.fewest(Span(start_of(first), start_of(end)), progress("UTC"))] == [Days(first, end)]


def test_without_sums_of_days_in_todays_zone_a_span_is_its_quarter_hours(settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "UTC"
    span = Span(FIRST, FIRST + timedelta(days=3))
    for known in (None, Progress(made_until=MADE_UNTIL), progress("Asia/Tokyo")):
        assert [*pieces.fewest(span, known)] == [*pieces.plain(span, known)] == [Quarters(span.start, span.end)]


def test_what_no_sum_has_yet_is_left_for_the_ledger() -> None:
    hour = timedelta(hours=1)
    made, tail = pieces.made_part(Span(MADE_UNTIL - hour, MADE_UNTIL + hour), progress("UTC"))
    assert (made, tail) == (Span(MADE_UNTIL - hour, MADE_UNTIL), Span(MADE_UNTIL, MADE_UNTIL + hour))
    assert pieces.made_part(made, progress("UTC"))[1] == Span(MADE_UNTIL, MADE_UNTIL)
    assert pieces.made_part(made, None) == (Span(made.start, made.start), made)

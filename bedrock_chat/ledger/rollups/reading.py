"""What was used in a span of time: whole months, whole days, the quarter hours at its ends, and what no sum has yet.

Who reads needs no lock: what is read is decided by one reading of `Progress`, and what is after that comes from the
ledger itself.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django.conf import settings
from django.db.models import BigIntegerField, Max, Min, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce

from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups import adding
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.ledger.rollups.models import (
    MEASURES,
    TOGETHER,
    DayLatency,
    DayUsage,
    Dimension,
    DimensionUsage,
    Grain,
    GroupMember,
    Latency,
    Progress,
    QuarterHour,
    QuarterUsage,
    Refusal,
    Timed,
)
from bedrock_chat.ledger.rollups.periods import COLUMN_OF
from bedrock_chat.ledger.zones import DAY, EPOCH, Span, day_of, month_after, month_of, start_of, zone
from bedrock_chat.wire.errors import BadRequest

SUMS: Final = {f"sum_{name}": Cast(Sum(name), BigIntegerField()) for name in MEASURES}
"""As integers: PostgreSQL's sum of them is a decimal, which takes several times as long to read."""
SUM_NAMES: Final = tuple(SUMS)

ByValue = dict[str, Figures]


@dataclass(frozen=True, slots=True)
class Parts:
    """A span as sums have it, each part from one date or time on, before another. Any part may be empty."""

    months: tuple[date, date]
    days: tuple[tuple[date, date], ...]
    quarters: tuple[Span, ...]
    tail: Span


def usage(span: Span, *, by: Dimension, with_faults: bool = True) -> ByValue:
    """The figures of a span by one dimension: its value → figures. Calls without such a value are left out.

    Without faults, which the figures then lack, fewer sums are read: as many as there are values.
    """
    progress = Progress.objects.first()
    parts = parts_of(span, progress)
    return _added(
        row
        for rows in (
            _of_dimension(by, Grain.MONTH, *parts.months, with_faults=with_faults),
            *(_of_dimension(by, Grain.DAY, *days, with_faults=with_faults) for days in parts.days),
            *(
                _of_quarters(
                    by,
                    QuarterUsage.objects.filter(start__gte=part.start, start__lt=part.end),
                    with_faults=with_faults,
                )
                for part in parts.quarters
            ),
            _of_tail(by, parts.tail, progress),
        )
        for row in rows
        if values is None or row[0] in values
    )


def usage_by_day(span: Span, *, by: Dimension, value: str) -> dict[date, Figures]:
    """The figures of one value of a dimension, for each day of the setting REPORT_TIME_ZONE on which there was a call.

    The days at the ends of the span may be partial.
    """
    by_day: dict[date, Figures] = {}
    progress = Progress.objects.first()
    parts = parts_of(span, progress)
    for first, end in (parts.months, *parts.days):
        days = DimensionUsage.objects.filter(dimension=by, value=value, grain=Grain.DAY, day__gte=first, day__lt=end)
        for day, fault, *measures in days.values_list("day", "fault", *MEASURES):
            by_day.setdefault(day, Figures()).add(fault, measures)
    sums = [_quarters_of(by, value, part) for part in parts.quarters]
    sums.append(_tail_of(by, value, parts.tail, progress))
    for rows in sums:
        for start, fault, *measures in rows:
            by_day.setdefault(day_of(start), Figures()).add(fault, measures)
    return dict(sorted(by_day.items()))


def usage_by_day_and_value(span: Span, *, by: Dimension) -> dict[date, ByValue]:
    """Day of the setting REPORT_TIME_ZONE → value of a dimension → figures, where there was a call.

    A dimension of few values is meant, as models: their number times that of the days is read.
    """
    by_day: dict[date, ByValue] = {}
    progress = Progress.objects.first()
    parts = parts_of(span, progress)

    def add(day: date, value: str, fault: str, measures: Sequence[int]) -> None:
        by_day.setdefault(day, {}).setdefault(value, Figures()).add(fault, measures)

    for first, end in (parts.months, *parts.days):
        days = DimensionUsage.objects.filter(dimension=by, grain=Grain.DAY, day__gte=first, day__lt=end)
        for day, value, fault, *measures in days.values_list("day", "value", "fault", *MEASURES):
            add(day, value, fault, measures)
    column = COLUMN_OF[by]
    for part in parts.quarters:
        rows = QuarterUsage.objects.filter(start__gte=part.start, start__lt=part.end).exclude(**{column: ""})
        summed = rows.order_by().values("start", column, "fault").annotate(**SUMS)
        for start, value, fault, *measures in summed.values_list("start", column, "fault", *SUM_NAMES):
            add(day_of(start), value, fault, measures)
    for values, start, fault, sums in _tail(by, parts.tail, progress):
        for value in values:
            add(day_of(start), value, fault, sums)
    return dict(sorted(by_day.items()))


def keys_of(span: Span) -> tuple[int | None, int | None]:
    """The first and the last key that calls of a span have in the ledger, which has no index by time. None: unknown.

    Calls of other times may lie between them.
    """
    progress = Progress.objects.first()
    if progress is None:
        return None, None
    first = QuarterHour.objects.filter(start__gte=span.start).aggregate(first=Min("first_key"))["first"]
    first = progress.safe_key + 1 if first is None else min(first, progress.safe_key + 1)
    if progress.made_until is None or progress.made_until < span.end:
        return first, None
    last = QuarterHour.objects.filter(start__lt=span.end).aggregate(last=Max("last_key"))["last"]
    return first, last or 0


def usage_of_payer(span: Span, payer_id: str) -> dict[tuple[str, str], Figures]:
    """What one person pays for in a span: model and bot (empty: none) → figures. Each query has an index by payer."""
    parts = parts_of(span, Progress.objects.first())
    days = DayUsage.objects.filter(payer_id=payer_id)
    quarters = QuarterUsage.objects.filter(payer_id=payer_id)
    sums: list[QuerySet[Any, Any]] = [
        *(days.filter(day__gte=first, day__lt=end) for first, end in (parts.months, *parts.days) if first < end),
        *(quarters.filter(start__gte=part.start, start__lt=part.end) for part in parts.quarters),
    ]
    usage: defaultdict[tuple[str, str], Figures] = defaultdict(Figures)
    for rows in sums:
        summed = rows.order_by().values("model", "bot_id", "fault").annotate(**SUMS)
        for model, bot_id, fault, *measures in summed.values_list("model", "bot_id", "fault", *SUM_NAMES):
            usage[model, bot_id].add(fault, measures)
    tail = ModelCall.objects.filter(payer_id=payer_id, created_at__gte=parts.tail.start, created_at__lt=parts.tail.end)
    for (_, *names), counted in adding.add_up(tail).together.items():
        columns = dict(zip(TOGETHER, names, strict=True))
        usage[columns["model"], columns["bot_id"]].add(columns["fault"], counted)
    return usage


def refusals(span: Span) -> dict[str, int]:
    """Limit → how often it refused somebody in a span."""
    refuse_gone(span, kept_from())
    rows = Refusal.objects.filter(start__gte=span.start, start__lt=span.end)
    totals = rows.values_list("limit").annotate(total=Sum("count")).order_by("limit")
    return {limit: int(count) for limit, count in totals}


def latencies(span: Span, *, timed: Timed, **where: Any) -> dict[int, int]:
    """Bucket of `histogram` → calls without a fault, in quarter hours whose sums are made. `where` is of Latency."""
    refuse_gone(span, kept_from())
    rows = Latency.objects.filter(start__gte=span.start, start__lt=span.end, timed=timed, **where)
    return {bucket: int(calls) for bucket, calls in rows.values_list("bucket").annotate(total=Sum("calls"))}


def latencies_by_day(span: Span, *, timed: Timed) -> dict[date, Counter[int]]:
    """Day of the setting REPORT_TIME_ZONE → bucket of `histogram` → calls without a fault, of a span of whole days.

    Of what has no sum yet, nothing.
    """
    by_day: dict[date, Counter[int]] = {}
    for value, bucket, calls in _latencies(span, timed, "day", "start"):
        day = day_of(value) if isinstance(value, datetime) else value
        by_day.setdefault(day, Counter())[bucket] += int(calls)
    return by_day


def latencies_by_model(span: Span, *, timed: Timed) -> dict[str, Counter[int]]:
    """The same by model."""
    by_model: dict[str, Counter[int]] = {}
    for model, bucket, calls in _latencies(span, timed, "model", "model"):
        by_model.setdefault(model, Counter())[bucket] += int(calls)
    return by_model


def _latencies(span: Span, timed: Timed, day_column: str, quarter_column: str) -> Iterator[tuple[Any, int, int]]:
    """Value of a column, bucket and calls: of days by one column, of quarter hours by another."""
    parts = parts_of(span, Progress.objects.first())
    for first, end in (parts.months, *parts.days):
        if first < end:
            days = DayLatency.objects.filter(timed=timed, day__gte=first, day__lt=end).order_by()
            yield from days.values_list(day_column, "bucket").annotate(total=Sum("calls"))
    for part in parts.quarters:
        rows = Latency.objects.filter(start__gte=part.start, start__lt=part.end, timed=timed).order_by()
        yield from rows.values_list(quarter_column, "bucket").annotate(total=Sum("calls"))


# ---- Parts of a span ------------------------------------------------------------------------------------------------


def kept_from() -> datetime | None:
    """Since when there are figures. None: since the first call."""
    progress = Progress.objects.first()
    return None if progress is None else progress.kept_from


def refuse_gone(span: Span, kept_from: datetime | None) -> None:
    """Raises BadRequest for a span that begins before there are figures: part of a sum would pass for the whole."""
    if kept_from is not None and span.start < kept_from:
        since = f"{kept_from.astimezone(zone()):%Y-%m-%d %H:%M}"
        raise BadRequest(f"There are no figures of before {since} any more: begin there, or later.")


def parts_of(span: Span, progress: Progress | None) -> Parts:
    """Cuts a span: first what has no sum yet, then whole days from the rest, then whole months from those.

    Raises BadRequest for a span that begins before there are figures.
    """
    refuse_gone(span, None if progress is None else progress.kept_from)
    made_until = EPOCH if progress is None or progress.made_until is None else progress.made_until
    made = Span(span.start, min(max(span.start, made_until), span.end))
    tail = Span(made.end, max(made.end, span.end))
    first, end = _whole_days(made, progress)
    if first >= end:
        return Parts((first, first), (), (made,), tail)
    quarters = (Span(made.start, start_of(first)), Span(start_of(end), made.end))
    month, months_end = _whole_months(first, end, progress)
    days = ((first, end),) if month >= months_end else ((first, month), (months_end, end))
    return Parts((month, max(month, months_end)), days, quarters, tail)


def _whole_days(span: Span, progress: Progress | None) -> tuple[date, date]:
    """The first whole day of a span, and the one after the last whose sum is made in today's zone."""
    first = day_of(span.start)
    if start_of(first) < span.start:
        first += DAY
    if progress is None or progress.days_until is None or progress.zone != settings.REPORT_TIME_ZONE:
        return first, first
    return first, min(day_of(span.end), progress.days_until)


def _whole_months(first: date, end: date, progress: Progress | None) -> tuple[date, date]:
    """The first whole month of some days, and the one after the last whose sum is made."""
    month = month_of(first) if first == month_of(first) else month_after(first)
    if progress is None or progress.months_until is None:
        return month, month
    return month, min(month_of(end), progress.months_until)


# ---- Reading the parts ----------------------------------------------------------------------------------------------


def _of_dimension(
    by: Dimension, grain: Grain, first: date, end: date, *, with_faults: bool
) -> Iterator[tuple[Any, ...]]:
    """Value, fault and measures."""
    if first < end:
        rows = DimensionUsage.objects.filter(dimension=by, grain=grain, day__gte=first, day__lt=end)
        yield from _summed(rows, "value", with_faults=with_faults)


def _of_quarters(
    by: Dimension, rows: "QuerySet[QuarterUsage, QuarterUsage]", *, with_faults: bool
) -> Iterator[tuple[Any, ...]]:
    if by != Dimension.GROUP:
        column = COLUMN_OF[by]
        yield from _summed(rows.exclude(**{column: ""}), column, with_faults=with_faults)
        return
    summed = list(_summed(rows.exclude(group_set=""), "group_set", with_faults=with_faults))
    names = defaultdict(list)
    for group_set, name in GroupMember.objects.filter(group_set__in={row[0] for row in summed}).values_list(
        "group_set", "name"
    ):
        names[group_set].append(name)
    for group_set, *figures in summed:
        yield from ((name, *figures) for name in names[group_set])


def _summed(rows: "QuerySet[Any, Any]", column: str, *, with_faults: bool) -> Iterable[tuple[Any, ...]]:
    """Value, fault (empty, where they are left out) and measures."""
    if not with_faults:
        totals = rows.order_by().values(column).annotate(**SUMS).values_list(column, *SUM_NAMES)
        return ((value, "", *measures) for value, *measures in totals)
    summed: Iterable[tuple[Any, ...]] = (
        rows.order_by().values(column, "fault").annotate(**SUMS).values_list(column, "fault", *SUM_NAMES)
    )
    return summed


def _of_tail(by: Dimension, span: Span, progress: Progress | None) -> Iterator[tuple[Any, ...]]:
    for values, _, fault, measures in _tail(by, span, progress):
        yield from ((value, fault, *measures) for value in values)


def _tail_of(by: Dimension, value: str, span: Span, progress: Progress | None) -> Iterator[tuple[Any, ...]]:
    """Start, fault and measures of one value."""
    for values, start, fault, measures in _tail(by, span, progress):
        if value in values:
            yield (start, fault, *measures)


def _tail(by: Dimension, span: Span, progress: Progress | None) -> Iterator[tuple[Any, datetime, str, list[int]]]:
    """Values, start of the quarter hour, fault and measures of what has no sum yet, from the ledger itself."""
    if span.start >= span.end:
        return
    calls = ModelCall.objects.filter(created_at__gte=span.start, created_at__lt=span.end)
    if progress is not None:
        known = QuarterHour.objects.filter(start__gte=progress.made_until or EPOCH)
        first_key = known.aggregate(first=Coalesce(Min("first_key"), progress.safe_key + 1))["first"]
        calls = calls.filter(pk__gte=min(first_key, progress.safe_key + 1))
    sums = adding.add_up(calls)
    for (start, *names), measures in sums.together.items():
        columns = dict(zip(TOGETHER, names, strict=True))
        if by == Dimension.GROUP:
            values = sums.groups[columns["group_set"]]
        else:
            value = columns[COLUMN_OF[by]]
            values = [value] if value else []
        yield values, start, columns["fault"], measures


def _quarters_of(by: Dimension, value: str, span: Span) -> Iterable[tuple[Any, ...]]:
    """Start, fault and measures of one value."""
    rows = QuarterUsage.objects.filter(start__gte=span.start, start__lt=span.end)
    if by == Dimension.GROUP:
        rows = rows.filter(group_set__in=GroupMember.objects.filter(name=value).values("group_set"))
    else:
        rows = rows.filter(**{COLUMN_OF[by]: value})
    return rows.values_list("start", "fault", *MEASURES)


def _added(rows: Iterable[tuple[Any, ...]]) -> ByValue:
    by_value: ByValue = {}
    for value, fault, *measures in rows:
        figures = by_value.get(value)
        if figures is None:
            figures = by_value[value] = Figures()
        figures.add(fault, measures)
    return by_value

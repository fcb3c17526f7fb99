"""What was used in a span of time: whole months, whole days, the quarter hours at its ends, and what no sum has yet.

Who reads needs no lock: what is read is decided by one reading of `Progress`, and what is after that comes from the
ledger itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any, Final

from django.db.models import BigIntegerField, Min, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce

from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups import adding, pieces, summing
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.ledger.rollups.models import (
    MEASURES,
    TOGETHER,
    DayUsage,
    Dimension,
    DimensionFault,
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
from bedrock_chat.ledger.zones import EPOCH, Span, day_of, zone
from bedrock_chat.wire.errors import BadRequest

SUMS: Final = {f"sum_{name}": Cast(Sum(name), BigIntegerField()) for name in MEASURES}
"""As integers: PostgreSQL's sum of them is a decimal, which takes several times as long to read."""
SUM_NAMES: Final = tuple(SUMS)

ByValue = dict[str, Figures]


def usage(span: Span, *, by: Dimension) -> ByValue:
    """The figures of a span by one dimension: its value → figures. Calls without such a value are left out.

    Three queries: the sums, the faults, and the ledger's newest rows.
    """
    made, tail, progress = _cut(span)
    by_value: ByValue = {}
    if made.start < made.end:
        parts = list(pieces.fewest(made, progress))
        for value, *measures in summing.add_up(parts, by=by):
            by_value[value] = Figures(*measures)
        for value, fault, calls in summing.count_faults(parts, by=by):
            if value in by_value:  # else its first sum was made just now
                by_value[value].add_faults(fault, calls)
    for values, _, fault, measures in _tail(by, tail, progress):
        for value in values:
            by_value.setdefault(value, Figures()).add(fault, measures)
    return by_value


def usage_by_day(span: Span, *, by: Dimension, value: str) -> dict[date, Figures]:
    """The figures of one value of a dimension, for each day of the setting REPORT_TIME_ZONE on which there was a call.

    The days at the ends of the span may be partial.
    """
    by_day: dict[date, Figures] = {}
    made, tail, progress = _cut(span)
    for piece in pieces.plain(made, progress):
        if isinstance(piece, pieces.Days):
            in_days = {"dimension": by, "value": value, "grain": Grain.DAY, **_within(piece)}
            for day, *measures in DimensionUsage.objects.filter(**in_days).values_list("day", *MEASURES):
                by_day.setdefault(day, Figures()).add("", measures)
            for day, fault, calls in DimensionFault.objects.filter(**in_days).values_list("day", "fault", "calls"):
                by_day.setdefault(day, Figures()).add_faults(fault, calls)
        else:
            for start, fault, *measures in _quarters_of(by, value, piece):
                by_day.setdefault(day_of(start), Figures()).add(fault, measures)
    for values, start, fault, measures in _tail(by, tail, progress):
        if value in values:
            by_day.setdefault(day_of(start), Figures()).add(fault, measures)
    return dict(sorted(by_day.items()))


def usage_of_payer(span: Span, payer_id: str) -> dict[tuple[str, str], Figures]:
    """What one person pays for in a span: model and bot (empty: none) → figures. Each query has an index by payer."""
    made, tail, progress = _cut(span)
    usage: defaultdict[tuple[str, str], Figures] = defaultdict(Figures)
    for piece in pieces.plain(made, progress):
        table = DayUsage if isinstance(piece, pieces.Days) else QuarterUsage
        rows: QuerySet[Any, Any] = table.objects.filter(payer_id=payer_id, **_within(piece))
        summed = rows.order_by().values("model", "bot_id", "fault").annotate(**SUMS)
        for model, bot_id, fault, *measures in summed.values_list("model", "bot_id", "fault", *SUM_NAMES):
            usage[model, bot_id].add(fault, measures)
    calls = ModelCall.objects.filter(payer_id=payer_id, created_at__gte=tail.start, created_at__lt=tail.end)
    for (_, *names), counted in adding.add_up(calls).together.items():
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


def kept_from() -> datetime | None:
    """Since when there are figures. None: since the first call."""
    progress = Progress.objects.first()
    return None if progress is None else progress.kept_from


def refuse_gone(span: Span, kept_from: datetime | None) -> None:
    """Raises BadRequest for a span that begins before there are figures: part of a sum would pass for the whole."""
    if kept_from is not None and span.start < kept_from:
        since = f"{kept_from.astimezone(zone()):%Y-%m-%d %H:%M}"
        raise BadRequest(f"There are no figures of before {since} any more: begin there, or later.")


# ---- Reading the parts ----------------------------------------------------------------------------------------------


def _cut(span: Span) -> tuple[Span, Span, Progress | None]:
    """The part of a span that has sums, the rest, and how far sums are made. Raises BadRequest as `refuse_gone`."""
    progress = Progress.objects.first()
    refuse_gone(span, None if progress is None else progress.kept_from)
    return *pieces.made_part(span, progress), progress


def _within(piece: pieces.Piece) -> dict[str, Any]:
    """The condition on rows of a piece."""
    if isinstance(piece, pieces.Days):
        return {"day__gte": piece.first, "day__lt": piece.end}
    return {"start__gte": piece.start, "start__lt": piece.end}


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


def _quarters_of(by: Dimension, value: str, piece: pieces.Quarters) -> Iterable[tuple[Any, ...]]:
    """Start, fault and measures of one value."""
    rows = QuarterUsage.objects.filter(**_within(piece))
    if by == Dimension.GROUP:
        rows = rows.filter(group_set__in=GroupMember.objects.filter(name=value).values("group_set"))
    else:
        rows = rows.filter(**{COLUMN_OF[by]: value})
    return rows.values_list("start", "fault", *MEASURES)

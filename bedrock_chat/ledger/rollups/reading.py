"""What was used in a span of time: whole months, whole days, the quarter hours at its ends, and what no sum has yet.

Who reads needs no lock: what is read is decided by one reading of `Progress`, and what is after that comes from the
ledger itself.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime
from typing import Any, Final

from django.db.models import BigIntegerField, Max, Min, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce

from bedrock_chat.ledger.models import OF_DOCUMENTS, ModelCall, paid_by
from bedrock_chat.ledger.rollups import adding, pieces, summing
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.ledger.rollups.models import (
    MEASURES,
    TOGETHER,
    DayLatency,
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


def usage(span: Span, *, by: Dimension, values: Collection[str] | None = None, with_faults: bool = True) -> ByValue:
    """The figures of a span by one dimension: its value → figures. Calls without such a value are left out.

    Three queries: the sums, the faults, and the ledger's newest rows. With `values`, those alone, such as the rows of
    one page. Without faults, which the figures then lack, there is a query less.

    The month that runs gets another day each day. Where that has happened meanwhile, all is read anew: else the day
    would count twice.
    """
    while True:
        made, tail, progress = _cut(span)
        by_value = _usage(made, tail, progress, by=by, values=values, with_faults=with_faults)
        if _months(Progress.objects.first()) == _months(progress):
            return by_value


def _months(progress: Progress | None) -> tuple[Any, ...]:
    """What the sums of months are made of."""
    return () if progress is None else (progress.zone, progress.months_until, progress.kept_from)


def _usage(
    made: Span,
    tail: Span,
    progress: Progress | None,
    *,
    by: Dimension,
    values: Collection[str] | None,
    with_faults: bool,
) -> ByValue:
    by_value: ByValue = {}
    if parts := list(pieces.fewest(made, progress)):
        for value, *measures in summing.add_up(parts, by=by, values=values):
            by_value[value] = Figures(*measures)
        for value, fault, calls in summing.count_faults(parts, by=by, values=values) if with_faults else ():
            if value in by_value:  # else its first sum was made just now
                by_value[value].add_faults(fault, calls)
    for own, _, fault, measures in _tail(by, tail, progress):
        for value in own:
            if values is None or value in values:
                by_value.setdefault(value, Figures()).add(fault if with_faults else "", measures)
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


def usage_by_day_and_value(span: Span, *, by: Dimension) -> dict[date, ByValue]:
    """Day of the setting REPORT_TIME_ZONE → value of a dimension → figures, where there was a call.

    A dimension of few values is meant, as models: their number times that of the days is read.
    """
    by_day: dict[date, ByValue] = {}
    made, tail, progress = _cut(span)

    def figures(day: date, value: str) -> Figures:
        return by_day.setdefault(day, {}).setdefault(value, Figures())

    column = COLUMN_OF[by]
    for piece in pieces.plain(made, progress):
        if isinstance(piece, pieces.Days):
            in_days = {"dimension": by, "grain": Grain.DAY, **_within(piece)}
            for day, value, *measures in DimensionUsage.objects.filter(**in_days).values_list(
                "day", "value", *MEASURES
            ):
                figures(day, value).add("", measures)
            faults = DimensionFault.objects.filter(**in_days).values_list("day", "value", "fault", "calls")
            for day, value, fault, calls in faults:
                figures(day, value).add_faults(fault, calls)
        else:
            rows = QuarterUsage.objects.filter(**_within(piece)).exclude(**{column: ""})
            summed = rows.order_by().values("start", column, "fault").annotate(**SUMS)
            for start, value, fault, *measures in summed.values_list("start", column, "fault", *SUM_NAMES):
                figures(day_of(start), value).add(fault, measures)
    for values, start, fault, sums in _tail(by, tail, progress):
        for value in values:
            figures(day_of(start), value).add(fault, sums)
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
    made, tail, progress = _cut(span)
    usage: defaultdict[tuple[str, str], Figures] = defaultdict(Figures)
    for piece in pieces.plain(made, progress):
        table = DayUsage if isinstance(piece, pieces.Days) else QuarterUsage
        rows: QuerySet[Any, Any] = table.objects.filter(payer_id=payer_id, **_within(piece))
        summed = rows.order_by().values("model", "bot_id", "fault").annotate(**SUMS)
        for model, bot_id, fault, *measures in summed.values_list("model", "bot_id", "fault", *SUM_NAMES):
            usage[model, bot_id].add(fault, measures)
    calls = _unmade(tail, progress).filter(paid_by(payer_id))
    for (_, *names), counted in adding.add_up(calls).together.items():
        columns = dict(zip(TOGETHER, names, strict=True))
        usage[columns["model"], columns["bot_id"]].add(columns["fault"], counted)
    return usage


def people_of_bot(span: Span, bot_id: str) -> int:
    """How many people asked a bot something in a span. Keys of its API are nobody; whoever was erased still counts.

    What its owner pays to have its documents read is no question.
    """
    made, tail, progress = _cut(span)
    unmade = _unmade(tail, progress).filter(bot_id=bot_id, user_id__isnull=False).exclude(purpose__in=OF_DOCUMENTS)
    people = set(unmade.values_list("user_id", flat=True))
    for piece in pieces.plain(made, progress):
        table = DayUsage if isinstance(piece, pieces.Days) else QuarterUsage
        rows: QuerySet[Any, Any] = table.objects.filter(bot_id=bot_id, **_within(piece)).exclude(user_id="")
        rows = rows.exclude(purpose__in=OF_DOCUMENTS)
        people.update(rows.order_by().values_list("user_id", flat=True).distinct())
    return len(people)


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
    made, _, progress = _cut(span)
    for piece in pieces.plain(made, progress):
        if isinstance(piece, pieces.Days):
            days = DayLatency.objects.filter(timed=timed, **_within(piece)).order_by()
            yield from days.values_list(day_column, "bucket").annotate(total=Sum("calls"))
        else:
            quarters = Latency.objects.filter(timed=timed, **_within(piece)).order_by()
            yield from quarters.values_list(quarter_column, "bucket").annotate(total=Sum("calls"))


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
    sums = adding.add_up(_unmade(span, progress))
    for (start, *names), measures in sums.together.items():
        columns = dict(zip(TOGETHER, names, strict=True))
        if by == Dimension.GROUP:
            values = sums.groups[columns["group_set"]]
        else:
            value = columns[COLUMN_OF[by]]
            values = [value] if value else []
        yield values, start, columns["fault"], measures


def _unmade(span: Span, progress: Progress | None) -> QuerySet[ModelCall]:
    """The rows of the ledger of a span that has no sum yet."""
    if span.start >= span.end:
        return ModelCall.objects.none()
    calls = ModelCall.objects.filter(created_at__gte=span.start, created_at__lt=span.end)
    if progress is not None:
        known = QuarterHour.objects.filter(start__gte=progress.made_until or EPOCH)
        first_key = known.aggregate(first=Coalesce(Min("first_key"), progress.safe_key + 1))["first"]
        calls = calls.filter(pk__gte=min(first_key, progress.safe_key + 1))
    return calls


def _quarters_of(by: Dimension, value: str, piece: pieces.Quarters) -> Iterable[tuple[Any, ...]]:
    """Start, fault and measures of one value."""
    rows = QuarterUsage.objects.filter(**_within(piece))
    if by == Dimension.GROUP:
        rows = rows.filter(group_set__in=GroupMember.objects.filter(name=value).values("group_set"))
    else:
        rows = rows.filter(**{COLUMN_OF[by]: value})
    return rows.values_list("start", "fault", *MEASURES)

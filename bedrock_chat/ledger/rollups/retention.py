"""Sums that are older than ROLLUP_RETENTION_DAYS: whole months, quarter hours and days and months alike.

Quarter hours stay as long as months do: after a change of REPORT_TIME_ZONE all days and months are made of them.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from django.db.models import Model, QuerySet

from bedrock_chat.ledger.retention import made_until
from bedrock_chat.ledger.rollups.making import progress_locked
from bedrock_chat.ledger.rollups.models import (
    DayLatency,
    DayUsage,
    Dimension,
    DimensionFault,
    DimensionUsage,
    Grain,
    Latency,
    Progress,
    QuarterHour,
    QuarterUsage,
    Refusal,
    Timed,
)
from bedrock_chat.ledger.zones import day_of, month_of, start_of
from bedrock_chat.retention.policies import Plan
from bedrock_chat.retention.pruning import Counts, Run

PART: Final = "sums"
AT_A_TIME: Final = 1_000


def count(plan: Plan) -> Counts:
    """The rows of each kind that are too old."""
    progress = Progress.objects.first()
    kept_from = _kept_from(plan, progress)
    counts: Counter[str] = Counter()
    if progress is not None and kept_from is not None:
        for kind, rows in _rows(kept_from, progress):
            if kind:
                counts[kind] += rows.count()
    return counts


def prune(run: Run) -> Iterator[Counts]:
    """Deletes them; stops after each transaction.

    1. It is noted since when there are sums. From then on nobody reads or makes any from before (`reading`, `making`).
    2. The rows go, some at a time.
    """
    with progress_locked() as progress:
        kept_from = _kept_from(run.plan, progress)
        if kept_from is None:
            return
        if progress.kept_from != kept_from and any(rows.exists() for _, rows in _rows(kept_from, progress)):
            run.record(PART, run.plan.rollup_days)
            progress.kept_from = kept_from
            progress.save(update_fields=["kept_from"])
    for kind, rows in _rows(kept_from, progress):
        while True:
            with progress_locked():
                keys = list(rows.values_list("pk", flat=True)[:AT_A_TIME])
                rows.model._default_manager.filter(pk__in=keys).delete()
            yield {kind: len(keys)} if kind else {}
            if len(keys) < AT_A_TIME:
                break


def _kept_from(plan: Plan, progress: Progress | None) -> datetime | None:
    """The beginning of the first month that stays. It never goes back: what is gone is gone."""
    if plan.rollup_days is None:
        return None
    made = made_until(progress)
    if made is None or progress is None:
        return None
    kept_from = start_of(min(month_of(day_of(plan.before(plan.rollup_days))), made))
    return kept_from if progress.kept_from is None else max(kept_from, progress.kept_from)


def _rows(kept_from: datetime, progress: Progress) -> list[tuple[str, "QuerySet[Any, Model]"]]:
    """Each kind of row that is too old; empty: one that is not counted. An index of each begins with its time."""
    day = day_of(kept_from)
    by_day = [
        sums.objects.filter(dimension=dimension, grain=grain, day__lt=day).order_by("day")
        for sums in (DimensionUsage, DimensionFault)
        for dimension in Dimension
        for grain in Grain
    ]
    latencies = [DayLatency.objects.filter(timed=timed, day__lt=day).order_by("day") for timed in Timed]
    keys = QuarterHour.objects.filter(start__lt=kept_from, last_key__lte=progress.pruned_key).order_by("start")
    return [
        ("quarter hours", QuarterUsage.objects.filter(start__lt=kept_from).order_by("start")),
        ("latencies", Latency.objects.filter(start__lt=kept_from).order_by("start")),
        *(("latencies", rows) for rows in latencies),
        ("refusals", Refusal.objects.filter(start__lt=kept_from).order_by("start")),
        ("days and months", DayUsage.objects.filter(day__lt=day).order_by("day")),
        *(("days and months", rows) for rows in by_day),
        ("", keys),  # which no report shows
    ]

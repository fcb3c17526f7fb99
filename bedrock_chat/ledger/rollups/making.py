"""The job that makes sums: of quarter hours ten minutes after their end, of days and months that are over, and of late
rows once more.

The ledger's keys ascend, so what is new has higher keys. A quarter hour's rows are known by their lowest and highest
key (`QuarterHour`). A row of a quarter hour whose sums are made, and whose key is above its highest one, came late. A
row that changed later has left a `LateEnd`.

Keys are given before their transactions commit. So the rows of the last ten to twenty minutes are looked at in every
run, and only keys up to `safe_key` never again. Every step is a transaction of its own, which writes how far it came.
After an interruption the next run goes on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min

from bedrock_chat.database.connections import database_now, yield_sqlite_lock
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups import adding, periods
from bedrock_chat.ledger.rollups.late import WAIT
from bedrock_chat.ledger.rollups.models import (
    DayLatency,
    DayUsage,
    DimensionFault,
    DimensionUsage,
    Grain,
    GroupMember,
    LateEnd,
    Latency,
    Progress,
    QuarterHour,
    QuarterUsage,
    Timed,
)
from bedrock_chat.ledger.zones import DAY, QUARTER, day_of, month_after, month_of, quarter_of, start_of

ROWS_AT_A_TIME: Final = 20_000
"""Rows of the ledger whose times are read in one query."""
QUARTERS_AT_A_TIME: Final = 8
UNCOMMITTED: Final = 1000
"""Keys that transactions under way may have, when the job looks at the ledger for the first time."""


def roll_up(job: Claimed | None = None) -> None:
    """Makes all sums that can be made by now. A periodic job. Raises LeaseLost where another worker has taken over."""
    for _ in steps(database_now()):
        if job is not None:
            job.check()


def steps(now: datetime) -> Iterator[None]:
    """As `roll_up`; stops after every transaction."""
    until = quarter_of(now - WAIT)
    late = {end.start for end in LateEnd.objects.all()}
    for starts in _note_new_rows(now):
        late |= starts
        yield
    for start in sorted(late):
        _make_again(start)
        yield
    yield from _make_quarters(until)
    yield from _make_days()
    yield from _make_months()


@contextmanager
def progress_locked() -> Iterator[Progress]:
    """A transaction in which nobody else makes or renames sums."""
    with yield_sqlite_lock(), transaction.atomic():
        yield lock_progress()


def lock_progress() -> Progress:
    """As `progress_locked`, until the caller's transaction ends."""
    Progress.objects.bulk_create([Progress(zone=settings.REPORT_TIME_ZONE)], ignore_conflicts=True)
    return Progress.objects.select_for_update().get()


# ---- Quarter hours --------------------------------------------------------------------------------------------------


def _note_new_rows(now: datetime) -> Iterator[set[datetime]]:
    """Notes the keys of rows not looked at for good. Yields the made quarter hours that have got a row since."""
    newest = ModelCall.objects.aggregate(newest=Max("pk"))["newest"] or 0
    with progress_locked() as progress:
        _look_at_newest(progress, now)
    is_old_enough = progress.seen_at is not None and progress.seen_at <= now - WAIT
    safe_key = progress.seen_key if is_old_enough else progress.safe_key
    made_until = progress.made_until
    for last_key, keys in keys_after(progress.safe_key):
        with progress_locked() as progress:
            late = note_keys(keys, made_until)
            progress.safe_key = max(progress.safe_key, min(last_key, safe_key))
            progress.save(update_fields=["safe_key"])
        yield late
    if is_old_enough:
        with progress_locked() as progress:
            progress.safe_key, progress.seen_key, progress.seen_at = safe_key, max(newest, safe_key), now
            progress.save(update_fields=["safe_key", "seen_key", "seen_at"])


def keys_after(key: int) -> Iterator[tuple[int, dict[datetime, list[int]]]]:
    """The last key of some rows of the ledger, and their keys by quarter hour, until there are no more rows."""
    after = ModelCall.objects.order_by("pk").values_list("pk", "created_at")
    while rows := list(after.filter(pk__gt=key)[:ROWS_AT_A_TIME]):
        keys: dict[datetime, list[int]] = {}
        for pk, at in rows:
            keys.setdefault(quarter_of(at), []).append(pk)
        key = rows[-1][0]
        yield key, keys


def _look_at_newest(progress: Progress, now: datetime) -> None:
    """The first time, what is older than ten minutes counts as committed, but for the last of it."""
    if progress.seen_at is None:
        old = ModelCall.objects.filter(created_at__lt=now - WAIT).order_by("-pk").values_list("pk", flat=True).first()
        progress.seen_key, progress.seen_at = max(0, (old or 0) - UNCOMMITTED), now - WAIT
        progress.save(update_fields=["seen_key", "seen_at"])


def note_keys(keys: dict[datetime, list[int]], made_until: datetime | None) -> set[datetime]:
    """Widens what is known of quarter hours that are not made yet. Returns those that are made and have a new row."""
    known = QuarterHour.objects.in_bulk(list(keys))
    late, changed = set(), []
    for start, own in keys.items():
        row = known.get(start)
        if row is not None and row.first_key <= own[0] and own[-1] <= row.last_key:
            continue
        changed.append(
            QuarterHour(start, min(own[0], row.first_key), max(own[-1], row.last_key))
            if row
            else QuarterHour(start, own[0], own[-1])
        )
        if made_until is not None and start < made_until:
            late.add(start)
    QuarterHour.objects.bulk_create(
        changed, update_conflicts=True, unique_fields=["start"], update_fields=["first_key", "last_key"]
    )
    LateEnd.objects.bulk_create([LateEnd(start=start) for start in sorted(late)])  # known also after an interruption
    return late


def _make_quarters(until: datetime) -> Iterator[None]:
    """Makes the sums of quarter hours that are over, in their order."""
    while True:
        with progress_locked() as progress:
            left = QuarterHour.objects.filter(start__lt=until)
            if progress.made_until is not None:
                left = left.filter(start__gte=progress.made_until)
            batch = list(left.order_by("start")[:QUARTERS_AT_A_TIME])
            make(batch, progress)
            made_until = batch[-1].start + QUARTER if len(batch) == QUARTERS_AT_A_TIME else until
            if progress.made_until is None or progress.made_until < made_until:
                progress.made_until = made_until
                progress.save(update_fields=["made_until"])
        if len(batch) < QUARTERS_AT_A_TIME:
            return
        yield


def make(quarters: Sequence[QuarterHour], progress: Progress) -> None:
    """Makes the sums of quarter hours anew from the ledger, in the caller's transaction.

    Sums outlive the ledger's rows: those of a quarter hour whose first rows are gone stay as they are. Sums that were
    pruned do not come back, though rows that are on hold may still be there.
    """
    first_key = ModelCall.objects.aggregate(first=Min("pk"))["first"]
    for quarter in quarters:
        if first_key is None or quarter.first_key < first_key or quarter.first_key <= progress.pruned_key:
            continue
        if progress.kept_from is not None and quarter.start < progress.kept_from:
            continue
        sums = adding.add_up(adding.calls_of(quarter))
        QuarterUsage.objects.filter(start=quarter.start).delete()
        Latency.objects.filter(start=quarter.start).delete()
        GroupMember.objects.bulk_create(sums.members(), ignore_conflicts=True)
        QuarterUsage.objects.bulk_create(sums.rows())
        Latency.objects.bulk_create(sums.latency_rows())


def _make_again(start: datetime) -> None:
    """Makes the sums of a quarter hour anew, and of its day and month, as far as they are made."""
    with progress_locked() as progress:
        # Those that are seen are committed with their rows, so the query after this one sees the rows.
        LateEnd.objects.filter(pk__in=list(LateEnd.objects.filter(start=start).values_list("pk", flat=True))).delete()
        if progress.made_until is None or start >= progress.made_until:
            return
        make(list(QuarterHour.objects.filter(start=start)), progress)
        if progress.zone == settings.REPORT_TIME_ZONE:
            make_again_above(progress, day_of(start))


def make_again_above(progress: Progress, day: date, *, with_month: bool = True) -> None:
    """Makes the sums of a day anew, and of its third and its month, as far as they are made."""
    if progress.days_until is None or day >= progress.days_until:
        return
    if progress.kept_from is not None and start_of(day) < progress.kept_from:
        return
    periods.make_day(day)
    if with_month and progress.months_until is not None and day < progress.months_until:
        periods.make_month(day, day, progress.months_until)


# ---- Days and months ------------------------------------------------------------------------------------------------


def _make_days() -> Iterator[None]:
    """Makes the sums of days that are over, in their order. In a changed zone all are made anew."""
    while True:
        with progress_locked() as progress:
            if progress.zone != settings.REPORT_TIME_ZONE:
                progress.zone, progress.days_until, progress.months_until = settings.REPORT_TIME_ZONE, None, None
                progress.save(update_fields=["zone", "days_until", "months_until"])
            first = QuarterUsage.objects.aggregate(first=Min("start"))["first"]
            if progress.made_until is None or first is None:
                return
            day = progress.days_until
            if day is None:
                day = day_of(first)
                DayUsage.objects.filter(day__lt=day).delete()
                DayLatency.objects.filter(timed__in=list(Timed), day__lt=day).delete()
                for sums in (DimensionUsage, DimensionFault):
                    sums.objects.filter(grain=Grain.DAY, day__lt=day).delete()
                    sums.objects.filter(grain__in=[Grain.THIRD, Grain.MONTH], day__lt=month_of(day)).delete()
                progress.months_until = month_of(day)
            if start_of(day + DAY) > progress.made_until:
                return
            periods.make_day(day)
            progress.days_until = day + DAY
            progress.save(update_fields=["days_until", "months_until"])
        yield


def _make_months() -> Iterator[None]:
    """Makes the sums of months and their thirds, in their order. The last ones are made anew each day, of the days that
    they have.
    """
    while True:
        with progress_locked() as progress:
            months_until, days_until = progress.months_until, progress.days_until
            if months_until is None or days_until is None or months_until >= days_until:
                return
            progress.months_until = min(month_after(months_until), days_until)
            periods.make_month(months_until, progress.months_until - DAY, progress.months_until)
            progress.save(update_fields=["months_until"])
        yield

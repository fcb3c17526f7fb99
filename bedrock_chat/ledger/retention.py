"""Calls that are older than LEDGER_RETENTION_DAYS: pruned from the lowest key upward, once all their sums are made.

Whole days go, when the sums of their months are made and no call of theirs has changed since. So each sum is either
made of all of its calls, or stays as it is (`rollups.making.make`).
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Min

from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups.making import lock_progress
from bedrock_chat.ledger.rollups.models import LateEnd, Progress, QuarterHour
from bedrock_chat.ledger.zones import day_of, month_of, start_of
from bedrock_chat.retention import holds
from bedrock_chat.retention.policies import Plan
from bedrock_chat.retention.pruning import Counts, Run

PART: Final = "calls"
ROWS_AT_A_TIME: Final = 1_000
"""Calls that are looked at, and deleted, in one transaction."""


def made_until(progress: Progress | None) -> date | None:
    """The first day of the months whose sums are not whole. None: nothing may go yet, also while the zone changes."""
    if progress is None or progress.months_until is None or progress.zone != settings.REPORT_TIME_ZONE:
        return None
    return month_of(progress.months_until)


def count(plan: Plan) -> Counts:
    """Calls that are too old, and not on hold."""
    end, present = _end(plan, Progress.objects.first()), holds.present()
    number, last = 0, 0
    while rows := _rows(last, end):
        number += sum(not present.keep(*ids) for _, *ids in rows)
        last = rows[-1][0]
    return {PART: number}


def prune(run: Run) -> Iterator[Counts]:
    """Deletes them; stops after each transaction. Nobody makes sums in one.

    Calls that were on hold stay at low keys, and are looked at again each time.
    """
    last = 0
    while True:
        with yield_sqlite_lock(), transaction.atomic():
            present = holds.present()  # before the other lock, as whoever erases a person
            progress = lock_progress()
            rows = _rows(last, _end(run.plan, progress))
            if not rows:
                return
            keys = [pk for pk, *ids in rows if not present.keep(*ids)]
            last = rows[-1][0]
            if keys:
                run.record(PART, run.plan.ledger_days)
                ModelCall.objects.filter(pk__in=keys).delete()
            if progress.pruned_key < last:
                progress.pruned_key = last
                progress.save(update_fields=["pruned_key"])
        yield {PART: len(keys)}


def _end(plan: Plan, progress: Progress | None) -> int:
    """The last key of those before which nothing stays, but for holds. 0: nothing goes."""
    if plan.ledger_days is None or progress is None:
        return 0
    made = made_until(progress)
    if made is None:
        return 0
    kept_from = start_of(min(day_of(plan.before(plan.ledger_days)), made))
    if LateEnd.objects.filter(start__lt=kept_from).exists():
        return 0
    first_kept = QuarterHour.objects.filter(start__gte=kept_from).aggregate(first=Min("first_key"))["first"]
    return progress.safe_key if first_kept is None else min(progress.safe_key, first_kept - 1)


def _rows(after: int, end: int) -> list[tuple[int, str | None, str | None, str | None]]:
    """Key, bot, user and payer of the next calls."""
    rows = ModelCall.objects.filter(pk__gt=after, pk__lte=end).order_by("pk")
    return list(rows.values_list("pk", "bot_id", "user_id", "payer_id")[:ROWS_AT_A_TIME])

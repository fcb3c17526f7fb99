"""Calls of tools that are older than LEDGER_RETENTION_DAYS: pruned from the lowest key on. No sums are made of them."""

from collections.abc import Iterator
from itertools import takewhile
from typing import Final

from django.db import transaction

from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.ledger.models import ToolCall
from bedrock_chat.retention import holds
from bedrock_chat.retention.policies import Plan
from bedrock_chat.retention.pruning import Counts, Run

PART: Final = "calls of tools"
ROWS_AT_A_TIME: Final = 1_000
"""Calls that are looked at, and deleted, in one transaction."""

Row = tuple[int, str | None, str | None, str | None]
"""Key, bot, user and payer."""


def count(plan: Plan) -> Counts:
    """Calls that are too old, and not on hold."""
    present, number, last = holds.present(), 0, 0
    while rows := _rows(last, plan):
        number += sum(not present.keep(*ids) for _, *ids in rows)
        last = rows[-1][0]
    return {PART: number}


def prune(run: Run) -> Iterator[Counts]:
    """Deletes them; stops after each transaction. Calls on hold stay, and are looked at again each time."""
    last = 0
    while True:
        with yield_sqlite_lock(), transaction.atomic():
            present = holds.present()
            rows = _rows(last, run.plan)
            if not rows:
                return
            keys = [pk for pk, *ids in rows if not present.keep(*ids)]
            last = rows[-1][0]
            if keys:
                run.record(PART, run.plan.ledger_days)
                ToolCall.objects.filter(pk__in=keys).delete()
        yield {PART: len(keys)}


def _rows(after: int, plan: Plan) -> list[Row]:
    """The next calls, as far as the first that stays: keys ascend with time."""
    if plan.ledger_days is None:
        return []
    before = plan.before(plan.ledger_days)
    rows = ToolCall.objects.filter(pk__gt=after).order_by("pk")
    some = rows.values_list("created_at", "pk", "bot_id", "user_id", "payer_id")[:ROWS_AT_A_TIME]
    return [(pk, bot, user, payer) for _, pk, bot, user, payer in takewhile(lambda row: row[0] < before, some)]

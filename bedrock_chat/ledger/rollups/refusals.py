"""Counting what our own limits refuse. A refused request writes nothing: it is counted here, in memory, and written by
the heartbeat some seconds later.

What a killed process had not written yet is lost: these are figures for operators, and nobody is charged by them.
"""

import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Final

from django.db import transaction

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.rollups.models import Refusal
from bedrock_chat.ledger.zones import EPOCH, QUARTER
from bedrock_chat.metrics import refusals as metrics

EVERY_SECONDS: Final = 10.0
MOST_KINDS: Final = 5_000
"""So many different counters wait at most; further refusals are counted without saying whose they were."""
AT_A_TIME: Final = 200

Kind = tuple[datetime, str, str, str, str]
_lock = Lock()
_waiting: Counter[Kind] = Counter()


def count(limit: str, *, payer_id: str = "", bot_id: str = "", key_id: str = "") -> None:
    """Counts a refusal by a limit, as `metrics.refusals` does, and whose it was."""
    metrics.count(limit)
    start = _quarter(int(time.time() / QUARTER.total_seconds()))
    with _lock:
        kind = (start, limit, payer_id, bot_id, key_id)
        if kind not in _waiting and len(_waiting) >= MOST_KINDS:
            kind = (start, limit, "", "", "")
        _waiting[kind] += 1


@lru_cache(maxsize=2)
def _quarter(number: int) -> datetime:
    """The beginning of a quarter hour, counted from the epoch."""
    return EPOCH + number * QUARTER


def write() -> None:
    """Writes what was counted, some counters in each statement's batch. What fails is kept for the next time."""
    while True:
        with _lock:
            kinds = dict(list(_waiting.items())[:AT_A_TIME])
            for kind in kinds:
                del _waiting[kind]
        if not kinds:
            return
        try:
            _add(kinds)
        except BaseException:
            with _lock:
                _waiting.update(kinds)
            raise


def _add(kinds: Mapping[Kind, int]) -> None:
    """Adds counts to the rows. Those of a person who was erased meanwhile name nobody, as with `insert_late`."""
    with transaction.atomic():
        payers = {payer_id for _, _, payer_id, _, _ in kinds}
        rows = User.objects.select_for_update(no_key=True).filter(pk__in=payers).order_by("pk")
        known = set(rows.values_list("pk", flat=True))
        with Batch() as batch:
            for (start, limit, payer_id, bot_id, key_id), number in sorted(kinds.items()):
                payer = payer_id if payer_id in known else ""
                row = Refusal(start=start, limit=limit, payer_id=payer, bot_id=bot_id, key_id=key_id, count=number)
                batch.upsert(row, ("start", "limit", "payer_id", "bot_id", "key_id"), replaced=(), plus=("count",))


def forget() -> None:
    """For tests: nothing has been counted."""
    with _lock:
        _waiting.clear()

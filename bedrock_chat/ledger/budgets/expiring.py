"""Reservations of calls: kept while their process lives, and given back when it does not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils import timezone

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.ledger.budgets import statements
from bedrock_chat.ledger.budgets.amounts import Amount
from bedrock_chat.ledger.budgets.models import Reservation
from bedrock_chat.ledger.budgets.periods import present

LENGTH: Final = timedelta(seconds=90)
BEAT_SECONDS: Final = 20.0
AT_A_TIME: Final = 500

_lock = threading.Lock()
_open: set[int] = set()
"""Keys of this process's reservations."""


@contextmanager
def kept(pk: int | None) -> Iterator[None]:
    """Has the heartbeat keep a reservation, if there is one, while its call is made."""
    if pk is None:
        yield
        return
    keep(pk)
    try:
        yield
    finally:
        leave(pk)


def keep(pk: int) -> None:
    """As `kept`, until `leave`."""
    with _lock:
        _open.add(pk)


def leave(pk: int) -> None:
    with _lock:
        _open.discard(pk)


def renew() -> None:
    """Moves on when this process's reservations expire, in one statement for all of them."""
    with _lock:
        keys = list(_open)
    if keys:
        Reservation.objects.filter(pk__in=keys).update(expires_at=database_now() + LENGTH)


def return_expired(job: Claimed) -> None:
    """A periodic job: gives back what calls have reserved whose process does not live any more."""
    return_all_expired()
    with transaction.atomic():
        job.finish()


def return_all_expired() -> int:
    """Gives back what expired. Each reservation is a transaction of its own. Returns how many there were."""
    count = 0
    expired = Reservation.objects.filter(expires_at__lt=database_now()).order_by("pk").values_list("pk", flat=True)
    while keys := list(expired[:AT_A_TIME]):
        for pk in keys:
            with transaction.atomic():
                count += give_back(pk)
    return count


def give_back(pk: int) -> bool:
    """Gives back a reservation, in the caller's transaction. Returns False if somebody has done it."""
    with Batch() as batch:
        deleted = statements.delete_reservation(batch, pk)
    for counters, usd, tokens in deleted.result:
        with Batch() as batch:
            statements.settle(batch, (), present(timezone.now()), NOTHING, keys_of(counters), Amount(usd, tokens))
    return bool(deleted.result)


NOTHING: Final = Amount(0, 0)


def keys_of(counters: str) -> list[int]:
    return [int(key) for key in counters.split(",")]

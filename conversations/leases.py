"""Leases of running turns: which process runs one, and until when that is believed."""

import threading
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from bedrock_chat import heartbeat
from bedrock_chat.database import database_now
from bedrock_chat.wire.ids import new_id
from conversations.models import Message

HOLDER = new_id()  # this process; a forked child would share it, and the server never forks

_lock = threading.Lock()
_held: dict[int, int] = {}  # question's row → attempt


def duration() -> timedelta:
    return timedelta(seconds=settings.TURN_LEASE_SECONDS)


def hold(question: int, attempt: int) -> None:
    """From now on the heartbeat renews this turn's lease."""
    with _lock:
        _held[question] = attempt
    heartbeat.register("turn leases", settings.TURN_LEASE_SECONDS / 3, renew)
    heartbeat.start()


def drop(question: int, attempt: int) -> None:
    with _lock:
        if _held.get(question) == attempt:
            del _held[question]


def renew() -> None:
    """Renews the leases of this process's running turns, in one statement for all of them.

    A lease that has run out is not revived: others were told that the turn is over.
    """
    with _lock:
        held = dict(_held)
    if not held:
        return
    now = database_now()
    mine = Q()
    for attempt in set(held.values()):
        mine |= Q(attempt=attempt, pk__in=[pk for pk, its in held.items() if its == attempt])
    Message.objects.filter(mine, lease_holder=HOLDER, lease_expires_at__gt=now).update(
        lease_expires_at=now + duration()
    )

"""The keys whose requests this process answers, and until when others believe so."""

import threading
from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from bedrock_chat.database.connections import database_now
from publication.models import IdempotencyKey

_running: set[tuple[int, int]] = set()
"""Key and attempt of each row."""
_lock = threading.Lock()


def length() -> timedelta:
    return timedelta(seconds=settings.TURN_LEASE_SECONDS)


def add(pk: int, attempt: int) -> None:
    """From now on the lease is renewed."""
    with _lock:
        _running.add((pk, attempt))


def remove(pk: int, attempt: int) -> None:
    with _lock:
        _running.discard((pk, attempt))


def renew() -> None:
    """Renews all leases of this process, in one statement. One that has run out is not revived."""
    with _lock:
        running = list(_running)
    if not running:
        return
    here = Q()
    for attempt in {attempt for _, attempt in running}:
        here |= Q(attempt=attempt, pk__in=[pk for pk, own in running if own == attempt])
    now = database_now()
    IdempotencyKey.objects.filter(here, lease_expires_at__gt=now).update(lease_expires_at=now + length())

"""Leases of running turns: which process runs one, and until when that is believed."""

from datetime import timedelta

from django.conf import settings
from django.db.models import Q

from bedrock_chat.database.connections import database_now
from bedrock_chat.wire.ids import new_id
from conversations.models import Message
from conversations.turn import registry

HOLDER = new_id()  # this process; a forked child would share it, and the server never forks


def duration() -> timedelta:
    return timedelta(seconds=settings.TURN_LEASE_SECONDS)


def renew() -> None:
    """Renews the leases of this process's running turns, in one statement for all of them.

    A lease that has run out is not revived: others were told that the turn is over.
    """
    held = [each.key for each in registry.all_running()]
    if not held:
        return
    now = database_now()
    mine = Q()
    for attempt in {attempt for _, attempt in held}:
        mine |= Q(attempt=attempt, pk__in=[pk for pk, its in held if its == attempt])
    Message.objects.running(now).filter(mine, lease_holder=HOLDER).update(lease_expires_at=now + duration())

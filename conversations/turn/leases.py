"""Leases of running turns: which process runs a turn, and until when others believe so."""

from django.db.models import Q

from bedrock_chat.database.connections import database_now
from bedrock_chat.wire.ids import new_id
from conversations.models import Message, MessageQuerySet, lease_length
from conversations.turn import registry

HOLDER = new_id()  # the id of this process. A forked child would share it, but the server never forks.


def renew() -> None:
    """Renews the leases of this process's running turns, in one statement for all of them.

    A lease that has run out is not renewed: others may have read meanwhile that the turn is over.
    """
    keys = [running.key for running in registry.all_running()]
    if not keys:
        return
    now = database_now()
    running_here = Q()
    for attempt in {attempt for _, attempt in keys}:
        running_here |= Q(attempt=attempt, pk__in=[pk for pk, turn_attempt in keys if turn_attempt == attempt])
    running = Message.objects.running(now).filter(running_here, lease_holder=HOLDER)
    running.update(lease_expires_at=now + lease_length())


def shorten(messages: MessageQuerySet | None = None) -> None:
    """Gives leases that have more than their length left just that. The clock was set back since they were given.

    Nobody else would end the lease of a process that was killed before. Who waits for a lease calls this, for the
    messages among which it is; without them all messages are looked at. A turn that does run loses nothing: its process
    renews the lease.
    """
    longest = database_now() + lease_length()
    too_long = (Message.objects.all() if messages is None else messages).filter(lease_expires_at__gt=longest)
    if too_long.exists():
        too_long.update(lease_expires_at=longest)

"""Leases of running turns: which process runs a turn, and until when others believe so."""

from django.db.models import Q

from bedrock_chat.database.connections import database_now
from bedrock_chat.wire.ids import new_id
from conversations.models import Message, lease_length
from conversations.turn import registry

HOLDER = new_id()  # the id of this process. A forked child would share it, but the server never forks.


def renew() -> None:
    """Renews the leases of this process's running turns, in one statement for all of them.

    A lease that has run out is not renewed: others may have read meanwhile that the turn is over. One that a clock set
    back has made too long is renewed, since its turn runs here.
    """
    keys = [running.key for running in registry.all_running()]
    if not keys:
        return
    now = database_now()
    running_here = Q()
    for attempt in {attempt for _, attempt in keys}:
        running_here |= Q(attempt=attempt, pk__in=[pk for pk, turn_attempt in keys if turn_attempt == attempt])
    own = Message.objects.filter(running_here, lease_holder=HOLDER, lease_expires_at__gt=now)
    own.update(lease_expires_at=now + lease_length())

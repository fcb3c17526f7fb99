"""What the heartbeat does for running turns: leases, checkpoints, stop requests of other processes."""

from django.conf import settings

from bedrock_chat.process import heartbeat
from conversations.streaming import relay
from conversations.turn import checkpoints, leases, stopping


def begin() -> None:
    """Called by every turn as it begins; only the first call of a process changes anything."""
    heartbeat.register("turn leases", settings.TURN_LEASE_SECONDS / 3, leases.renew)
    heartbeat.register("checkpoints", settings.CHECKPOINT_SECONDS, checkpoints.write)
    heartbeat.register("stop requests", stopping.POLL_SECONDS, stopping.obey)
    heartbeat.start()
    relay.hear()

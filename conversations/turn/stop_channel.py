"""Sends requests to stop a turn from process to process through Redis.

The database has the same requests, in case one is lost. Each process listens on a channel of its own, for requests to
stop its own turns.
"""

from bedrock_chat.process import redis_channel
from conversations.turn import registry
from conversations.turn.leases import HOLDER

CHANNEL = "bedrock-chat:turns:stop"
WHAT = "stop requests"


def request_stop(holder: str, question_pk: int, attempt: int) -> None:
    """Asks the process `holder`, which runs a turn, to stop it. Does nothing without Redis."""
    redis_channel.publish(f"{CHANNEL}:{holder}", f"{question_pk} {attempt}", what=WHAT)


def _take(message: str) -> None:
    question_pk, attempt = map(int, message.split())
    registry.stop(question_pk, attempt)


_listener = redis_channel.Listener(f"{CHANNEL}:{HOLDER}", _take, what=WHAT)
listen = _listener.start
is_listening = _listener.is_listening

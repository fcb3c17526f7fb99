"""How many turns one process runs at a time, for all callers and for each."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.rollups import refusals
from bedrock_chat.metrics.instruments import Gauge
from bedrock_chat.process import shutdown, telemetry
from bedrock_chat.wire.errors import ServiceUnavailable, TooManyRequests

RETRY_SECONDS = 2

_lock = threading.Lock()
_running: Counter[str] = Counter()  # by account


def count() -> int:
    """Turns that this process runs now."""
    with _lock:
        return _running.total()


PLACES = Gauge(
    "bedrock_chat_turn_places",
    "Turns that the processes may run at a time.",
    ("role",),
    read=lambda: {(telemetry.role(),): settings.TURNS},
)
PLACES_TAKEN = Gauge(
    "bedrock_chat_turn_places_taken",
    "Turns, and titles, that the processes run now.",
    ("role",),
    read=lambda: {(telemetry.role(),): count()},
)


def has_room() -> bool:
    """Whether this process would begin a turn now. A caller's own share may be used up all the same."""
    return not shutdown.draining() and count() < settings.TURNS


@contextmanager
def admitted(actor: Caller) -> Iterator[None]:
    """Counts a turn while it runs.

    Raises TooManyRequests beyond `TURNS_PER_USER` or `TURNS_PER_PUBLICATION`, and ServiceUnavailable beyond `TURNS` and
    while the process is shutting down.

    Every turn holds a thread until its model has answered. Further turns are refused rather than queued, so that lists,
    health checks and the console always find a thread. A publication is many users, but it is not all of them.
    """
    if shutdown.draining():
        raise ServiceUnavailable("This server is shutting down; try again.", retry_after=1)
    account = actor.account
    with _lock:
        if _running.total() >= settings.TURNS:
            refusals.count("turns")
            sentence = "This server is answering as many messages as it can; try again."
            raise ServiceUnavailable(sentence, retry_after=RETRY_SECONDS)
        limit, most, whose = "turns_per_user", settings.TURNS_PER_USER, "your"
        if actor.user_id is None:
            limit, most, whose = "turns_per_publication", settings.TURNS_PER_PUBLICATION, "this API's"
        if _running[account] >= most:
            refusals.count(limit, payer_id=actor.payer_id or "")
            sentence = f"At most {most} of {whose} messages are answered at a time; try again."
            raise TooManyRequests(sentence, retry_after=RETRY_SECONDS)
        _running[account] += 1
    try:
        yield
    finally:
        with _lock:
            _running[account] -= 1
            if not _running[account]:
                del _running[account]

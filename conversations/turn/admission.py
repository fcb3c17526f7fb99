"""How many turns one process runs at a time, for all callers and for each."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.rollups import refusals
from bedrock_chat.process import shutdown
from bedrock_chat.wire.errors import ServiceUnavailable, TooManyRequests

RETRY_SECONDS = 2

_lock = threading.Lock()
_running: Counter[str] = Counter()  # by account


def count() -> int:
    """Turns that this process runs now."""
    with _lock:
        return _running.total()


@contextmanager
def admitted(actor: Caller) -> Iterator[None]:
    """Counts a turn while it runs.

    Raises TooManyRequests beyond `TURNS_PER_USER`, and ServiceUnavailable beyond `TURNS` and while the process is
    shutting down.

    Every turn holds a thread until its model has answered. Further turns are refused rather than queued, so that lists,
    health checks and the console always find a thread. A publication may use all turns: it is many users.
    """
    if shutdown.draining():
        raise ServiceUnavailable("This server is shutting down; try again.", retry_after=1)
    account = actor.account
    with _lock:
        if _running.total() >= settings.TURNS:
            sentence = "This server is answering as many messages as it can; try again."
            raise ServiceUnavailable(sentence, retry_after=RETRY_SECONDS)
        if actor.user_id is not None and _running[account] >= settings.TURNS_PER_USER:
            refusals.count("turns", payer_id=actor.user_id)
            sentence = f"At most {settings.TURNS_PER_USER} of your messages are answered at a time; try again."
            raise TooManyRequests(sentence, retry_after=RETRY_SECONDS)
        _running[account] += 1
    try:
        yield
    finally:
        with _lock:
            _running[account] -= 1
            if not _running[account]:
                del _running[account]

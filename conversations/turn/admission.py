"""How many turns one process runs at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from bedrock_chat.process import shutdown
from bedrock_chat.wire.errors import ServiceUnavailable

_lock = threading.Lock()
_running = 0


def count() -> int:
    """Turns that this process runs now."""
    return _running


@contextmanager
def admitted() -> Iterator[None]:
    """Counts a turn while it runs. Raises ServiceUnavailable beyond `TURNS`, and while the process is shutting down.

    Every turn holds a thread until its model has answered. Further turns are refused rather than queued, so that lists,
    health checks and the console always find a thread.
    """
    global _running  # noqa: PLW0603  one count per process
    if shutdown.draining():
        raise ServiceUnavailable("This server is shutting down; try again.", retry_after=1)
    with _lock:
        if _running >= settings.TURNS:
            raise ServiceUnavailable("This server is answering as many messages as it can; try again.", retry_after=2)
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1

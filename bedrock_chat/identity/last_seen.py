"""When people were seen last, to a quarter of an hour: noted in memory, and written by the heartbeat.

A request writes nothing for it. The column comes with the row that every request reads, so only who was seen longer
ago is noted.
"""

from datetime import timedelta
from threading import Lock
from typing import Final

from django.utils import timezone

from bedrock_chat.identity.models import User

EVERY_SECONDS: Final = 10.0
PRECISION: Final = timedelta(minutes=15)
MOST_WAITING: Final = 10_000
AT_A_TIME: Final = 500

_lock = Lock()
_waiting: set[str] = set()


def note(user: User) -> None:
    """The person sends a request."""
    if user.seen_at is not None and timezone.now() - user.seen_at < PRECISION:
        return
    with _lock:
        if len(_waiting) < MOST_WAITING:
            _waiting.add(user.pk)


def write() -> None:
    """Writes that those who were noted have been seen just now. What fails is noted by their next request."""
    while True:
        with _lock:
            some = [_waiting.pop() for _ in range(min(len(_waiting), AT_A_TIME))]
        if not some:
            return
        User.objects.filter(pk__in=some).update(seen_at=timezone.now())


def forget() -> None:
    """For tests: nobody has been noted."""
    with _lock:
        _waiting.clear()

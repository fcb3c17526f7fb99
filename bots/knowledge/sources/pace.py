"""How fast pages of one host are fetched, over all bots and workers: a row per host says when the next one may be.

A turn is taken by one statement, as a request is admitted by a publication's limits. Whoever would have to wait for
long takes none, so that turns which nobody uses do not add up.
"""

import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.utils import timezone

from bots.knowledge.models import CrawlHost

LONGEST_WAIT: Final = 5.0
"""Seconds that a fetch waits for its turn."""
JITTER: Final = 0.5
"""Of the time between two turns: by up to so much a fetch begins later, so that workers do not fetch in step."""
AT_A_TIME: Final = 2
"""Fetches of one process at one host."""
KEPT: Final = timedelta(days=1)

_TURN: Final = """\
INSERT INTO {table} (host, next_at) VALUES (%(host)s, %(after_now)s)
ON CONFLICT (host) DO UPDATE SET next_at = {next_turn}
WHERE {table}.next_at <= %(latest)s
RETURNING next_at
"""
_NEXT_TURN: Final = {
    "sqlite": "django_format_dtdelta('+', MAX({table}.next_at, %(now)s), %(microseconds)s)",
    "postgresql": "GREATEST({table}.next_at, %(now)s) + %(microseconds)s * INTERVAL '1 microsecond'",
}
_POSTPONE: Final = """\
INSERT INTO {table} (host, next_at) VALUES (%(host)s, %(until)s)
ON CONFLICT (host) DO UPDATE SET next_at = {greatest}({table}.next_at, %(until)s)
"""


def turn(host: str, seconds_between: float) -> float:
    """Takes the host's next turn. Returns in how many seconds it begins.

    More than LONGEST_WAIT: no turn was taken, and asking again makes sense in so many seconds. Call it outside any
    transaction. The clock is the worker's.
    """
    now = timezone.now()
    between = timedelta(seconds=seconds_between)
    parameters = {
        "host": host,
        "now": _stored(now),
        "after_now": _stored(now + between),
        "latest": _stored(now + timedelta(seconds=LONGEST_WAIT) - between * JITTER),
        "microseconds": int(between / timedelta(microseconds=1)),
    }
    table = CrawlHost._meta.db_table
    statement = _TURN.format(table=table, next_turn=_NEXT_TURN[connection.vendor].format(table=table))
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
    if rows:
        begins = max(0.0, (_read(rows[0][0]) - between - now).total_seconds())
        return begins + random.uniform(0, JITTER * seconds_between)  # noqa: S311  nothing secret
    next_at = CrawlHost.objects.filter(host=host).values_list("next_at", flat=True).first() or now
    return max(LONGEST_WAIT + 0.001, (next_at - now).total_seconds())


def postpone(host: str, seconds: float) -> None:
    """Nobody fetches from the host for so many seconds, because it has said so."""
    table = CrawlHost._meta.db_table
    statement = _POSTPONE.format(table=table, greatest="MAX" if connection.vendor == "sqlite" else "GREATEST")
    with connection.cursor() as cursor:
        cursor.execute(statement, {"host": host, "until": _stored(timezone.now() + timedelta(seconds=seconds))})


def forget_old(most: int = 1000) -> bool:
    """Removes rows of hosts that nobody has fetched from for a day. Returns whether there may be more."""
    old = CrawlHost.objects.filter(next_at__lt=timezone.now() - KEPT).values_list("pk", flat=True)[:most]
    hosts = list(old)
    CrawlHost.objects.filter(pk__in=hosts).delete()
    return len(hosts) == most


def _stored(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def _read(value: Any) -> datetime:
    """A time as the database returns it; SQLite's has no time zone, and is a text where it is calculated."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# ---- Fetches of this process ----------------------------------------------------------------------------------------

_lock = threading.Lock()
_places: Counter[str] = Counter()


def take_place(host: str) -> bool:
    """Takes one of the host's places in this process. False: all are taken."""
    with _lock:
        if _places[host] >= AT_A_TIME:
            return False
        _places[host] += 1
        return True


def give_place_back(host: str) -> None:
    with _lock:
        _places[host] -= 1
        if not _places[host]:
            del _places[host]

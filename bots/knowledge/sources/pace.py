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

from bedrock_chat.database.connections import database_now
from bots.knowledge.models import CrawlHost

LONGEST_WAIT: Final = 5.0
"""Seconds that a fetch waits for its turn."""
JITTER: Final = 0.5
"""Of the time between two turns: by up to so much a fetch begins later, so that workers do not fetch in step."""
LONGEST_JITTER: Final = 1.0
ANY_WAIT: Final = 86_400.0 * 365
AT_A_TIME: Final = 2
"""Fetches of one process at one host."""
KEPT: Final = timedelta(days=1)

_TURN: Final = """\
INSERT INTO {table} (host, next_at) VALUES (%(host)s, {after_now})
ON CONFLICT (host) DO UPDATE SET next_at = {greatest}({after_next}, excluded.next_at)
WHERE {table}.next_at <= {latest}
RETURNING next_at, {now}
"""
_POSTPONE: Final = """\
INSERT INTO {table} (host, next_at) VALUES (%(host)s, {after_now})
ON CONFLICT (host) DO UPDATE SET next_at = {greatest}({table}.next_at, excluded.next_at)
"""
_NOW: Final = {"sqlite": "%(now)s", "postgresql": "clock_timestamp()"}
_LATER: Final = {
    "sqlite": "django_format_dtdelta('+', {moment}, %({microseconds})s)",
    "postgresql": "({moment} + %({microseconds})s * INTERVAL '1 microsecond')",
}
_GREATEST: Final = {"sqlite": "MAX", "postgresql": "GREATEST"}


def turn(host: str, seconds_between: float, *, requests: int = 1) -> float:
    """Takes the host's next turn, or the next ones for so many requests. Returns in how many seconds the first begins.

    More than LONGEST_WAIT: no turn was taken, and asking again makes sense in so many seconds. Call it outside any
    transaction.
    """
    jitter = min(JITTER * seconds_between, LONGEST_JITTER)
    taken = seconds_between * requests
    latest = LONGEST_WAIT - jitter - taken  # counted from the turn after these
    rows = _execute(_TURN, host, between=taken, latest=latest)
    if rows:
        return max(0.0, _seconds(rows) - taken) + random.uniform(0, jitter)  # noqa: S311  nothing secret
    now = database_now()
    next_at = CrawlHost.objects.filter(host=host).values_list("next_at", flat=True).first() or now
    return max(LONGEST_WAIT + 0.001, (next_at - now).total_seconds())


def take(host: str, seconds_between: float, *, requests: int) -> float:
    """Takes turns of the host, however far away they are. Returns in how many seconds the first begins."""
    taken = seconds_between * requests
    rows = _execute(_TURN, host, between=taken, latest=ANY_WAIT)
    return max(0.0, _seconds(rows) - taken)


def postpone(host: str, seconds: float) -> None:
    """Nobody fetches from the host for so many seconds, because it has said so."""
    _execute(_POSTPONE, host, between=seconds)


def forget_old(most: int = 1000) -> bool:
    """Removes rows of hosts that nobody has fetched from for a day. Returns whether there may be more."""
    old = CrawlHost.objects.filter(next_at__lt=database_now() - KEPT).values_list("pk", flat=True)[:most]
    hosts = list(old)
    CrawlHost.objects.filter(pk__in=hosts).delete()
    return len(hosts) == most


def _execute(statement: str, host: str, **seconds: float) -> list[tuple[Any, ...]]:
    """Executes a statement by the clock that all workers share, and returns its rows."""
    table, now = CrawlHost._meta.db_table, _NOW[connection.vendor]

    def later(moment: str, name: str) -> str:
        return _LATER[connection.vendor].format(moment=moment, microseconds=name)

    composed = statement.format(
        table=table,
        now=now,
        after_now=later(now, "between"),
        after_next=later(f"{table}.next_at", "between"),
        latest=later("excluded.next_at", "latest"),
        greatest=_GREATEST[connection.vendor],
    )
    parameters: dict[str, Any] = {name: round(value * 1_000_000) for name, value in seconds.items()}
    if connection.vendor == "sqlite":
        parameters["now"] = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute(composed, {"host": host, **parameters})
        return cursor.fetchall() if cursor.description else []


def _seconds(rows: list[tuple[Any, ...]]) -> float:
    """In how many seconds the turn after those that a statement has taken begins."""
    [(next_at, now)] = rows
    return (_read(next_at) - _read(now)).total_seconds()


def _read(value: Any) -> datetime:
    """A time as the database returns it; SQLite's has no time zone, and is a text where it is calculated."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# ---- Within this process, without a database ------------------------------------------------------------------------

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

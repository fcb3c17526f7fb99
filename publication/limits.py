"""Throttle and quota: one statement admits a request or refuses it, exactly, whatever other processes do meanwhile.

The throttle is a token bucket, kept as the generic cell rate algorithm keeps it: one time, `tat`. A bucket of `burst`
tokens that fills with `rate` a second takes a request if `tat`, moved on by 1/rate, is at most burst/rate ahead of now.
The quota is a counter of a period. Both are tested and moved together, so a refused request moves neither.

A clock that is set back neither stops anybody for long nor begins a period again: a `tat` that no bucket has counts as
that of an almost empty one, and a period that has begun stays until a later one begins.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import F

from publication.models import Gate, LimitsScope, Period, Publication

POLLS: Final = ":polls"
"""Ends the account of GETs, which have a bucket of their own and no quota."""

POLL_RATE_FACTOR: Final = 10
USUAL_POLL_RATE: Final = 100.0
NO_QUOTA: Final = 2**62
DAY: Final = 86_400.0
ROUNDING: Final = 1e-6
"""Seconds by which times since the epoch may be wrong, which are stored in 64 bits."""

CLOCK: Final = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "EXTRACT(EPOCH FROM clock_timestamp())::double precision",
}
"""Seconds since the epoch by the clock that all processes share. Tests put a number in its place."""

_UPDATE: Final = """
UPDATE {table} SET
    tat = {most}({believed}, {now}) + %(interval)s,
    period = {present}, used = {used} + 1, extra = {extra}
{source}
WHERE account = %(account)s
    AND {most}({believed}, {now}) + %(interval)s - {now} <= %(tolerance)s + %(rounding)s
    AND {used} < %(quota)s + {extra} - CASE WHEN {present} = %(first)s THEN %(offset)s ELSE 0 END
RETURNING tat, period, used, extra, {now}
"""
_TOP_UP: Final = """
UPDATE {table} SET used = {used}, extra = {extra} + %(requests)s, period = {present}
{source}
WHERE account = %(account)s
"""
_LABELS: Final = {
    "sqlite": {
        None: "''",
        Period.DAY: "strftime('D%%Y%%m%%d', {now}, 'unixepoch')",
        Period.WEEK: "printf('W%%08d', CAST(({now} / 86400.0 + {shift}) / 7 AS INTEGER))",
        Period.MONTH: "strftime('M%%Y%%m', {now}, 'unixepoch')",
    },
    "postgresql": {
        None: "''",
        Period.DAY: "to_char(to_timestamp({now}) AT TIME ZONE 'UTC', '\"D\"YYYYMMDD')",
        Period.WEEK: "'W' || lpad(FLOOR(({now} / 86400.0 + {shift}) / 7)::bigint::text, 8, '0')",
        Period.MONTH: "to_char(to_timestamp({now}) AT TIME ZONE 'UTC', '\"M\"YYYYMM')",
    },
}
"""The label of the present period. Labels of one kind ascend with time, and their first letter is the kind."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one account. None: there is no such limit. `offset` counts in the period of `first_key_at`."""

    account: str
    publication_id: str
    rate: float | None
    burst: int | None
    quota: int | None
    period: Period | None
    offset: int = 0
    first_key_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an account stands after a request. `refused_by` is "throttle", "quota", or None for one that was admitted.

    `period` is the label of the present period. `tokens` are left in the bucket, and `requests` of the quota. Times are
    in seconds: until the bucket is full, until the next period begins, and until a refused request may come again.
    """

    limits: Limits
    period: str
    refused_by: str | None
    tokens: float
    requests: int
    full_in: float
    resets_in: float
    retry_in: float

    @property
    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers, and for a refused request an exact `Retry-After`."""
        policies, left = [], []
        limits = self.limits
        if limits.rate is not None and limits.burst is not None:
            policies.append(f'"throttle";q={limits.burst};w={math.ceil(limits.burst / limits.rate)}')
            left.append(f'"throttle";r={max(0, math.floor(self.tokens + ROUNDING))};t={math.ceil(self.full_in)}')
        if limits.quota is not None and limits.period is not None:
            policies.append(f'"quota";q={limits.quota};w={_LENGTHS[limits.period]}')
            left.append(f'"quota";r={max(0, self.requests)};t={math.ceil(self.resets_in)}')
        headers = {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)} if policies else {}
        if self.refused_by is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_in - ROUNDING)))
        return headers


_LENGTHS: Final = {Period.DAY: 86_400, Period.WEEK: 604_800, Period.MONTH: 2_592_000}
"""Seconds. A month has 30 days here; `t` says when it really ends."""


def of_requests(publication: Publication, lineage: str, first_key_at: datetime) -> Limits:
    """The limits of what a key may ask for."""
    shared = publication.limits_scope == LimitsScope.PUBLICATION
    return Limits(
        account=publication.pk if shared else lineage,
        publication_id=publication.pk,
        rate=publication.rate_limit,
        burst=publication.burst_limit,
        quota=publication.quota_limit,
        period=None if publication.quota_period is None else Period(publication.quota_period),
        offset=publication.quota_offset,
        first_key_at=publication.created_at if shared else first_key_at,
    )


def of_polls(publication: Publication, lineage: str) -> Limits:
    """The limits of how often a key may look: ten times the rate, and no quota."""
    account = publication.pk if publication.limits_scope == LimitsScope.PUBLICATION else lineage
    rate = USUAL_POLL_RATE if publication.rate_limit is None else publication.rate_limit * POLL_RATE_FACTOR
    return Limits(account + POLLS, publication.pk, rate, max(1, math.ceil(rate)), None, None)


def accounts_of(publication_id: str, lineage: str) -> Iterable[Gate]:
    """The rows that a new key needs, if they are not there."""
    for account in (publication_id, lineage):
        for kind in ("", POLLS):
            yield Gate(account=account + kind, publication_id=publication_id)


def admit(limits: Limits) -> Standing:
    """Counts a request if the limits have room for it, in one statement. For a refused one, reads why in another."""
    with connection.cursor() as cursor:
        statement = _statement(connection.vendor, CLOCK[connection.vendor], limits.period, _shift())
        cursor.execute(statement, _parameters(limits))
        row = cursor.fetchone()
    if row is None:
        return standing(limits, refused=True)
    return _standing(limits, *row, refused=False)


def give_back(limits: Limits, admitted: Standing) -> None:
    """Takes back a request that was admitted and that this server refuses after all, if its period still runs."""
    rows = Gate.objects.filter(account=limits.account, period=admitted.period, used__gt=0)
    rows.update(used=F("used") - 1, tat=F("tat") - interval_of(limits))


def top_up(limits: Limits, requests: int) -> None:
    """Adds requests to the quota of the present period, in the transaction of the caller. They end with the period."""
    pieces = _pieces(connection.vendor, CLOCK[connection.vendor], limits.period, _shift())
    sql = _TOP_UP.format(**pieces)
    with connection.cursor() as cursor:
        cursor.execute(sql, {"requests": requests, "account": limits.account})


def standing(limits: Limits, *, refused: bool = False) -> Standing:
    """How an account stands, in one query; nothing is counted. `refused` says that `admit` found no room just now."""
    clock = CLOCK[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT tat, period, used, extra, {clock} FROM {_table()} WHERE account = %s",  # noqa: S608
            [limits.account],
        )
        row = cursor.fetchone()
    assert row is not None, "a key is made with the rows of its limits"
    return _standing(limits, *row, refused=refused)


def label_of(period: Period | None, moment: datetime) -> str:
    """The label of the period that a moment lies in, as the statement makes it."""
    match period:
        case Period.DAY:
            return moment.astimezone(UTC).strftime("D%Y%m%d")
        case Period.WEEK:
            return f"W{int((moment.timestamp() / DAY + _shift()) // 7):08d}"
        case Period.MONTH:
            return moment.astimezone(UTC).strftime("M%Y%m")
    return ""


def _shift() -> int:
    """Days from a week's beginning to the epoch, which was a Thursday."""
    return 4 - settings.QUOTA_WEEK_STARTS


def ends_at(period: Period, label: str) -> float:
    """When a period ends, in seconds since the epoch."""
    if period == Period.WEEK:
        return ((int(label[1:]) + 1) * 7 - _shift()) * DAY
    year, month = int(label[1:5]), int(label[5:7])
    if period == Period.DAY:
        return datetime(year, month, int(label[7:]), tzinfo=UTC).timestamp() + DAY
    return (datetime(year, month, 1, tzinfo=UTC) + timedelta(days=32)).replace(day=1).timestamp()


# ---- The statement --------------------------------------------------------------------------------------------------


def _table() -> str:
    return str(connection.ops.quote_name(Gate._meta.db_table))


@lru_cache(maxsize=32)
def _statement(vendor: str, clock: str, period: Period | None, shift: int) -> str:
    return _UPDATE.format(**_pieces(vendor, clock, period, shift))


def _pieces(vendor: str, clock: str, period: Period | None, shift: int) -> dict[str, str]:
    """What the statements are made of."""
    is_sqlite = vendor == "sqlite"
    now = clock if is_sqlite else "clock.now"
    label = _LABELS[vendor][period].format(now=now, shift=shift)
    kind = period[0] if period else ""
    present = f"CASE WHEN substr(period, 1, 1) = '{kind}' AND period > {label} THEN period ELSE {label} END"
    return {
        "table": _table(),
        "now": now,
        "most": "MAX" if is_sqlite else "GREATEST",
        # Later than a full bucket's there is no such time, unless the clock was set back: then one request is let in.
        "believed": f"CASE WHEN tat > {now} + %(tolerance)s + %(rounding)s "
        f"THEN {now} + %(tolerance)s - %(interval)s ELSE tat END",
        "present": present,
        "used": f"CASE WHEN period = {present} THEN used ELSE 0 END",
        "extra": f"CASE WHEN period = {present} THEN extra ELSE 0 END",
        # PostgreSQL's clock goes on during a statement; here it is read once.
        "source": "" if is_sqlite else f"FROM (SELECT {clock} AS now) AS clock",
    }


def _parameters(limits: Limits) -> dict[str, Any]:
    first = limits.first_key_at
    return {
        "account": limits.account,
        "interval": interval_of(limits),
        "tolerance": tolerance_of(limits),
        "rounding": ROUNDING,
        "quota": NO_QUOTA if limits.quota is None else limits.quota,
        "offset": limits.offset,
        "first": "-" if first is None else label_of(limits.period, first),
    }


def interval_of(limits: Limits) -> float:
    """Seconds in which a token comes; 0 without a throttle."""
    return 0.0 if limits.rate is None else 1 / limits.rate


def tolerance_of(limits: Limits) -> float:
    """Seconds in which an empty bucket is full; 0 without a throttle."""
    return 0.0 if limits.rate is None or limits.burst is None else limits.burst / limits.rate


def _standing(limits: Limits, tat: float, period: str, used: int, extra: int, now: float, *, refused: bool) -> Standing:
    """The same arithmetic as the statement's."""
    interval, tolerance = interval_of(limits), tolerance_of(limits)
    present = label_of(limits.period, datetime.fromtimestamp(now, UTC))
    if period[:1] == present[:1] and period > present:
        present = period
    if period != present:
        used = extra = 0
    ahead = min(max(0.0, tat - now), tolerance)
    tokens = (tolerance - ahead) / interval if interval else 0.0
    is_first = limits.first_key_at is not None and label_of(limits.period, limits.first_key_at) == present
    left = (NO_QUOTA if limits.quota is None else limits.quota) + extra - used - (limits.offset if is_first else 0)
    resets_in = 0.0 if limits.period is None else max(0.0, ends_at(limits.period, present) - now)
    refused_by = None
    retry_in = 0.0
    if refused:
        refused_by = "quota" if left <= 0 else "throttle"
        retry_in = resets_in if left <= 0 else max(0.0, ahead + interval - tolerance)
    return Standing(limits, present, refused_by, tokens, left, ahead, resets_in, retry_in)

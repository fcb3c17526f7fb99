"""Throttle and quota: one statement admits a request or refuses it, exactly, whatever other processes do meanwhile.

The throttle is a token bucket, kept as the generic cell rate algorithm keeps it: one time, `tat`. A bucket of `burst`
tokens that fills with `rate` a second takes a request if `tat`, moved on by 1/rate, is at most burst/rate ahead of now.
The quota is a counter of a period. Both are tested and moved together, so a refused request moves neither.

A clock that is set back neither stops anybody for long nor begins a period again: a `tat` that no bucket has counts as
that of an almost empty one, and a period that has begun stays until a later one begins.
"""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import connection
from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Concat

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.composing import Slot
from publication.models import ApiKey, Gate, LimitsScope, Period, Publication

POLLS: Final = ":polls"
"""Ends the account of GETs, which have a bucket of their own and no quota."""

POLL_RATE_FACTOR: Final = 10
USUAL_POLL_RATE: Final = 100.0
NO_QUOTA: Final = 2**62
DAY: Final = 86_400.0
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ROUNDING: Final = 1e-6
"""Seconds by which times since the epoch may be wrong, which are stored in 64 bits."""

CLOCK: Final = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "EXTRACT(EPOCH FROM clock_timestamp())::double precision",
}
"""Seconds since the epoch by the clock that all processes share. Tests put a number in its place."""

_UPDATE: Final = """\
UPDATE {table} SET
    tat = {most}({believed}, {now}) + %(interval)s,
    period = {present}, used = {used} + 1, extra = {extra}
{source}
WHERE account = %(account)s
    AND {most}({believed}, {now}) + %(interval)s - {now} <= %(most_ahead)s
    AND {used} < %(quota)s + {extra} - CASE WHEN {present} = %(first)s THEN CAST(%(offset)s AS bigint) ELSE 0 END
RETURNING account, tat, period, used, extra, {now}
"""
_TOP_UP: Final = """\
UPDATE {table} SET used = {used}, extra = {extra} + %(requests)s, period = {present}
{source}
WHERE account = %(account)s
"""
_NAMED: Final = re.compile(r"%\((\w+)\)s")
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


class Limits(NamedTuple):
    """The limits of one account. None: there is no such limit. `offset` counts in the period of `first_key_at`."""

    account: str
    publication_id: str
    rate: float | None
    burst: int | None
    quota: int | None
    period: Period | None
    offset: int = 0
    first_key_at: datetime | None = None


class State(NamedTuple):
    """The row of an account as it was at `now`, in seconds since the epoch: its columns as in `Gate`."""

    account: str
    tat: float
    period: str
    used: int
    extra: int
    now: float


class Standing(NamedTuple):
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


class Forgotten(LookupError):
    """An account has no row any more: its key was erased with its owner after it was looked up."""


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


def kind_of(method: str | None) -> str:
    """What follows the name of an account that a request counts for: questions have one, polls another of their own."""
    return "" if method == "POST" or settings.POLLS_COUNT else POLLS


def accounts_of(publication_id: str, lineage: str) -> Iterable[Gate]:
    """The rows that a new key needs, if they are not there."""
    for account in (publication_id, lineage):
        for kind in ("", POLLS):
            yield Gate(account=account + kind, publication_id=publication_id)


def admit(limits: Limits, known: State | None = None) -> Standing:
    """Counts a request if the limits have room for it, in one statement. For a refused one, reads why in another.

    `known` is what was read of the account just now. If there was no room then, the request is refused by it, and
    neither statement is run: who keeps asking beyond a limit waits for no lock, and keeps nobody from writing.
    """
    if known is not None and known.account == limits.account:
        left = _left(limits, known)
        if not _has_room(limits, known, left):
            return _standing(limits, known, left, refused=True)
    vendor = connection.vendor
    sql, names = _statement(vendor, CLOCK[vendor], limits.period, _shift())
    parameters = _parameters(limits)
    with Batch() as batch:
        rows = batch.rows(sql, [parameters[name] for name in names])
    if not rows.result:
        return standing(limits, refused=True)
    state = State(*rows.result[0])
    return _standing(limits, state, _left(limits, state), refused=False)


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
    """How an account stands, in one query; nothing is counted. `refused` says that `admit` found no room just now.

    Raises Forgotten, as `admit` does.
    """
    with Batch() as batch:
        rows = batch.queryset(_state, (CLOCK[connection.vendor],), {"account": limits.account})
    if not rows.result:
        raise Forgotten
    state = State(*rows.result[0])
    return _standing(limits, state, _left(limits, state), refused=refused)


def with_states(keys: "QuerySet[ApiKey]", kind: str, clock: str) -> "QuerySet[ApiKey]":
    """Keys with the State of the account that each draws on, as `of_requests` and `of_polls` name it (`kind_of`).

    `clock` is one of CLOCK.
    """
    is_shared = Q(publication__limits_scope=LimitsScope.PUBLICATION.value)
    account: Combinable = Case(When(is_shared, then=F("publication_id")), default=F("lineage"))
    if kind:
        account = Concat(account, Value(kind))
    row = Gate.objects.filter(account=OuterRef("account"))
    columns = {name: Subquery(row.values(name)) for name in ("tat", "period", "used", "extra")}
    return keys.annotate(account=account, **columns, now=RawSQL(clock, ()))  # noqa: S611  our own words


def label_of(period: Period | None, moment: datetime) -> str:
    """The label of the period that a moment lies in, as the statement makes it."""
    return _label(period, int(moment.timestamp() // DAY), _shift())


@lru_cache(maxsize=64)
def _label(period: Period | None, day: int, shift: int) -> str:
    """The label of the period that a day lies in. Days are counted from the epoch."""
    match period:
        case Period.DAY:
            return f"{EPOCH + timedelta(day):D%Y%m%d}"
        case Period.WEEK:
            return f"W{(day + shift) // 7:08d}"
        case Period.MONTH:
            return f"{EPOCH + timedelta(day):M%Y%m}"
    return ""


def _shift() -> int:
    """Days from a week's beginning to the epoch, which was a Thursday."""
    return 4 - settings.QUOTA_WEEK_STARTS


def ends_at(period: Period, label: str) -> float:
    """When a period ends, in seconds since the epoch."""
    return _end(period, label, _shift())


@lru_cache(maxsize=64)
def _end(period: Period, label: str, shift: int) -> float:
    if period == Period.WEEK:
        return ((int(label[1:]) + 1) * 7 - shift) * DAY
    year, month = int(label[1:5]), int(label[5:7])
    if period == Period.DAY:
        return datetime(year, month, int(label[7:]), tzinfo=UTC).timestamp() + DAY
    return (datetime(year, month, 1, tzinfo=UTC) + timedelta(days=32)).replace(day=1).timestamp()


def _state(clock: str) -> "QuerySet[Gate, tuple[object, ...]]":
    row = Gate.objects.filter(account=Slot("account")).annotate(now=RawSQL(clock, ()))  # noqa: S611  our own words
    return row.values_list(*State._fields)


# ---- The statement --------------------------------------------------------------------------------------------------


def _table() -> str:
    return str(connection.ops.quote_name(Gate._meta.db_table))


@lru_cache(maxsize=32)
def _statement(vendor: str, clock: str, period: Period | None, shift: int) -> tuple[str, tuple[str, ...]]:
    """The statement with `%s` for each value, and the values' names in their order."""
    sql = _UPDATE.format(**_pieces(vendor, clock, period, shift))
    return _NAMED.sub("%s", sql), tuple(_NAMED.findall(sql))


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
        "believed": f"CASE WHEN tat > {now} + %(most_ahead)s THEN {now} + %(tolerance)s - %(interval)s ELSE tat END",
        "present": present,
        "used": f"CASE WHEN period = {present} THEN used ELSE 0 END",
        "extra": f"CASE WHEN period = {present} THEN extra ELSE 0 END",
        # PostgreSQL's clock goes on during a statement; here it is read once.
        "source": "" if is_sqlite else f"FROM (SELECT {clock} AS now) AS clock",
    }


def _parameters(limits: Limits) -> dict[str, Any]:
    return {
        "account": limits.account,
        "interval": interval_of(limits),
        "tolerance": tolerance_of(limits),
        "most_ahead": tolerance_of(limits) + ROUNDING,
        "quota": NO_QUOTA if limits.quota is None else limits.quota,
        "offset": limits.offset,
        "first": _first_period(limits),
    }


def interval_of(limits: Limits) -> float:
    """Seconds in which a token comes; 0 without a throttle."""
    return 0.0 if limits.rate is None else 1 / limits.rate


def tolerance_of(limits: Limits) -> float:
    """Seconds in which an empty bucket is full; 0 without a throttle."""
    return 0.0 if limits.rate is None or limits.burst is None else limits.burst / limits.rate


def _has_room(limits: Limits, state: State, left: tuple[int, str]) -> bool:
    """Whether the statement would have admitted a request when the state was read: its conditions, in Python."""
    interval, tolerance = interval_of(limits), tolerance_of(limits)
    tat = state.tat if state.tat <= state.now + tolerance + ROUNDING else state.now + tolerance - interval
    is_within_bucket = max(tat, state.now) + interval - state.now <= tolerance + ROUNDING
    return is_within_bucket and left[0] > 0


def _left(limits: Limits, state: State) -> tuple[int, str]:
    """The requests that were left of the quota, and the label of the period."""
    present = _label(limits.period, int(state.now // DAY), _shift())
    if state.period[:1] == present[:1] and state.period > present:
        present = state.period
    used, extra = (state.used, state.extra) if state.period == present else (0, 0)
    quota = NO_QUOTA if limits.quota is None else limits.quota
    return quota + extra - used - (limits.offset if _first_period(limits) == present else 0), present


def _first_period(limits: Limits) -> str:
    """The label of the period in which the offset counts; "-" for none."""
    if limits.first_key_at is None or not limits.offset:
        return "-"
    return label_of(limits.period, limits.first_key_at)


def _standing(limits: Limits, state: State, of_quota: tuple[int, str], *, refused: bool) -> Standing:
    """The same arithmetic as the statement's. `of_quota` is what `_left` says of the state."""
    interval, tolerance = interval_of(limits), tolerance_of(limits)
    left, present = of_quota
    ahead = min(max(0.0, state.tat - state.now), tolerance)
    tokens = (tolerance - ahead) / interval if interval else 0.0
    resets_in = 0.0 if limits.period is None else max(0.0, ends_at(limits.period, present) - state.now)
    refused_by = None
    retry_in = 0.0
    if refused:
        refused_by = "quota" if left <= 0 else "throttle"
        retry_in = resets_in if left <= 0 else max(0.0, ahead + interval - tolerance)
    return Standing(limits, present, refused_by, tokens, left, ahead, resets_in, retry_in)

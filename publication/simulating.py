"""What other limits would have refused: the requests of the past are admitted or refused once more, on paper.

The arithmetic is that of the statement in `limits`, step by step, and a test holds both together. Known are the
questions that were accepted, and the chat completions whose model was asked. What was refused at the time, and polls,
left no trace and are not among them.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice

from django.db.models import Exists, Min, OuterRef

from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger.models import ModelCall, Purpose
from publication import limits
from publication.limits import ROUNDING, Limits
from publication.models import ApiKey, LimitsScope, Period, Publication, TurnRequest


@dataclass(slots=True)
class Outcome:
    """What became of the requests of one account or key. `busiest` is the most that one period asked for."""

    requests: int = 0
    throttled: int = 0
    over_quota: int = 0
    first_refusal_at: float | None = None
    by_period: Counter[str] = field(default_factory=Counter)

    @property
    def admitted(self) -> int:
        return self.requests - self.throttled - self.over_quota

    @property
    def busiest(self) -> int:
        return max(self.by_period.values(), default=0)


@dataclass(slots=True)
class Account:
    """What the statement keeps in a row, and one step of it in Python."""

    limits: Limits
    tat: float = 0.0
    period: str = ""
    used: int = 0

    def ask(self, now: float) -> str | None:
        """Admits a request (None), or says what refuses it: "throttle" or "quota", as `limits.admit` does."""
        of = self.limits
        interval, tolerance = limits.interval_of(of), limits.tolerance_of(of)
        moment = datetime.fromtimestamp(now, UTC)
        present = limits.label_of(of.period, moment)
        used = self.used if self.period == present else 0
        first = of.first_key_at
        offset = of.offset if first is not None and limits.label_of(of.period, first) == present else 0
        if of.quota is not None and used >= of.quota - offset:
            return "quota"
        tat = max(self.tat, now) + interval
        if tat - now > tolerance + ROUNDING:
            return "throttle"
        self.tat, self.period, self.used = tat, present, used + 1
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """A question in the past: when, and with which key."""

    at: float
    key_id: str


def replay(requests: Iterable[Request], limits_of: Callable[[str], Limits]) -> dict[str, Outcome]:
    """What the limits of each key's account say to its requests, by key. The requests are in the order of time."""
    rows: dict[str, Account] = {}
    outcomes: dict[str, Outcome] = {}
    for request in requests:
        of = limits_of(request.key_id)
        row = rows.setdefault(of.account, Account(of))
        outcome = outcomes.setdefault(request.key_id, Outcome())
        outcome.requests += 1
        outcome.by_period[limits.label_of(of.period, datetime.fromtimestamp(request.at, UTC))] += 1
        refused_by = row.ask(request.at)
        if refused_by is None:
            continue
        if refused_by == "quota":
            outcome.over_quota += 1
        else:
            outcome.throttled += 1
        if outcome.first_refusal_at is None:
            outcome.first_refusal_at = request.at
    return outcomes


# ---- What is known of the past --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """The limits to try. None: there is no such limit."""

    quota: int | None
    period: Period | None
    rate: float | None
    burst: int | None
    scope: LimitsScope


def beginning(now: datetime, period: Period | None) -> datetime:
    """When last month began. A week that it began in is taken whole."""
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    first = (month - timedelta(days=1)).replace(day=1)
    if period != Period.WEEK:
        return first
    end = limits.ends_at(period, limits.label_of(period, first))
    return datetime.fromtimestamp(end, UTC) - timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Simulation:
    """What became of each key's requests since some time. `keys` has those that still exist, by id. `is_cut`: there
    were more requests than were to be replayed.
    """

    since: datetime
    outcomes: dict[str, Outcome]
    keys: dict[str, ApiKey]
    is_cut: bool = False


def simulate(publication: Publication, wanted: Wanted, *, most: int | None = None) -> Simulation:
    """Replays the requests of last month and of this one, as far as it has come, the first `most` of them.

    Nothing is written. Neither top-ups nor the offset of the first period count.
    """
    since = beginning(database_now(), wanted.period)
    existing = {key.pk: key for key in ApiKey.objects.filter(publication=publication)}
    tried = Publication(
        pk=publication.pk,
        created_at=publication.created_at,
        quota_limit=wanted.quota,
        quota_period=wanted.period,
        rate_limit=wanted.rate,
        burst_limit=wanted.burst,
        limits_scope=wanted.scope,
    )

    def limits_of(key_id: str) -> Limits:
        key = existing.get(key_id)
        lineage = key.lineage if key else key_id  # of one that is gone: that of the first key is its own id
        return limits.of_requests(tried, lineage, publication.created_at)

    requests = requests_of(publication, since)
    outcomes = replay(islice(requests, most), lru_cache(limits_of))
    return Simulation(since, outcomes, existing, is_cut=most is not None and next(requests, None) is not None)


def requests_of(publication: Publication, since: datetime) -> Iterator[Request]:
    """The questions that were accepted, in the order of time.

    Chat completions, and questions whose rows are gone with their conversations, have calls in the ledger: they were
    asked when the first began, and so old its row is (`recording.begin`).
    """
    accepted = TurnRequest.objects.filter(publication_id=publication.pk)
    turns = accepted.filter(accepted_at__gte=since).order_by("accepted_at").values_list("accepted_at", "key_id")
    of_call = {"conversation_id": OuterRef("conversation_external_id"), "message_id": OuterRef("message_external_id")}
    calls = ModelCall.objects.filter(publication_id=publication.pk, purpose=Purpose.TURN, created_at__gte=since)
    others = calls.filter(~Exists(accepted.filter(**of_call))).values("key_id", "conversation_external_id", "turn_id")
    began = others.annotate(began_at=Min("created_at")).order_by("began_at", "key_id").values_list("began_at", "key_id")
    for at, key_id in heapq.merge(turns.iterator(), began.iterator()):
        yield Request(at.timestamp(), str(key_id))

"""Throttle and quota: how many requests are admitted, when the next one is, and when a period begins anew."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection

from publication import limits
from publication.limits import Limits, State
from publication.models import Gate, Period

pytestmark = [pytest.mark.django_db, pytest.mark.both]

MONDAY = datetime(2026, 11, 30, 12, tzinfo=UTC)
SetClock = Callable[[datetime | float], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetClock]:
    """Sets the clock of the statement to a literal."""

    def set_clock(moment: datetime | float) -> None:
        seconds = moment.timestamp() if isinstance(moment, datetime) else moment
        literal = f"{seconds:.6f}" if connection.vendor == "sqlite" else f"{seconds:.6f}::double precision"
        monkeypatch.setitem(limits.CLOCK, connection.vendor, literal)

    set_clock(MONDAY)
    return set_clock


def account(**wanted: Any) -> Limits:
    """Limits with an account of their own."""
    Gate.objects.create(account="k", publication_id="p")
    columns: dict[str, Any] = {"rate": None, "burst": None, "quota": None, "period": None, **wanted}
    return Limits("k", "p", **columns)


def admitted(of: Limits, requests: int) -> int:
    return sum(limits.admit(of).refused_by is None for _ in range(requests))


def test_without_limits_everything_is_admitted() -> None:
    assert admitted(account(), 30) == 30


def test_a_bucket_is_full_at_first_and_fills_with_its_rate(clock: SetClock) -> None:
    of, start = account(rate=5.0, burst=10), MONDAY.timestamp()
    assert admitted(of, 12) == 10
    refused = limits.admit(of)
    assert (refused.refused_by, round(refused.retry_in, 3)) == ("throttle", 0.2)
    assert refused.headers["Retry-After"] == "1"
    clock(start + 0.199)
    assert admitted(of, 1) == 0
    clock(start + 0.2)
    assert admitted(of, 2) == 1
    clock(start + 2.2)
    assert admitted(of, 12) == 10


def test_retry_after_is_exact(clock: SetClock) -> None:
    of, start = account(rate=0.25, burst=1), MONDAY.timestamp()
    assert admitted(of, 1) == 1
    clock(start + 0.5)
    assert limits.admit(of).headers["Retry-After"] == "4"
    clock(start + 3.999)
    assert admitted(of, 1) == 0
    clock(start + 4)
    assert admitted(of, 1) == 1


def test_a_quota_is_a_quota(clock: SetClock) -> None:
    of = account(quota=3, period=Period.DAY)
    assert admitted(of, 5) == 3
    refused = limits.admit(of)
    assert (refused.refused_by, refused.resets_in) == ("quota", 12 * 3600)
    assert refused.headers == {
        "RateLimit-Policy": '"quota";q=3;w=86400',
        "RateLimit": '"quota";r=0;t=43200',
        "Retry-After": "43200",
    }


def test_a_quota_of_zero_admits_nothing(clock: SetClock) -> None:
    assert admitted(account(quota=0, period=Period.DAY), 2) == 0


@pytest.mark.parametrize(
    ("period", "last", "first"),
    [
        (Period.DAY, datetime(2026, 11, 30, 23, 59, 59, 999_000, UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (Period.WEEK, datetime(2026, 12, 5, 23, 59, 59, 999_000, UTC), datetime(2026, 12, 6, tzinfo=UTC)),
        (Period.MONTH, datetime(2026, 11, 30, 23, 59, 59, 999_000, UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        (Period.MONTH, datetime(2027, 2, 28, 23, 59, 59, 999_000, UTC), datetime(2027, 3, 1, tzinfo=UTC)),
    ],
)
def test_a_period_ends_at_its_edge(clock: SetClock, period: Period, last: datetime, first: datetime) -> None:
    of = account(quota=2, period=period)
    clock(last)
    assert admitted(of, 3) == 2
    assert limits.admit(of).headers["Retry-After"] == "1"
    clock(first)
    assert admitted(of, 3) == 2


def test_a_week_begins_when_the_setting_says(clock: SetClock, settings: LazySettings) -> None:
    settings.QUOTA_WEEK_STARTS = 1
    of = account(quota=1, period=Period.WEEK)
    clock(datetime(2026, 12, 6, 23, tzinfo=UTC))  # a Sunday
    assert admitted(of, 2) == 1
    assert limits.admit(of).resets_in == 3600
    clock(datetime(2026, 12, 7, tzinfo=UTC))
    assert admitted(of, 2) == 1


def test_the_offset_counts_in_the_first_period_alone(clock: SetClock) -> None:
    of = account(quota=5, period=Period.DAY, offset=3, first_key_at=MONDAY)
    assert admitted(of, 6) == 2
    clock(datetime(2026, 12, 1, tzinfo=UTC))
    assert admitted(of, 6) == 5


def test_a_refused_request_takes_nothing(clock: SetClock) -> None:
    of, start = account(rate=1.0, burst=1, quota=2, period=Period.DAY), MONDAY.timestamp()
    assert admitted(of, 9) == 1
    clock(start + 1)
    assert admitted(of, 9) == 1
    clock(start + 2)
    refused = limits.admit(of)
    assert (refused.refused_by, refused.tokens) == ("quota", 1)


def test_a_clock_that_is_set_back_opens_nothing_and_blocks_nobody_for_long(clock: SetClock) -> None:
    of, start = account(rate=1.0, burst=5, quota=100, period=Period.DAY), MONDAY.timestamp()
    assert admitted(of, 9) == 5
    clock(start - 86_400)
    assert admitted(of, 9) == 1
    assert limits.standing(of).requests == 94
    clock(start - 86_400 + 1)
    assert admitted(of, 9) == 1


def test_a_top_up_adds_to_the_present_period(clock: SetClock) -> None:
    of = account(quota=1, period=Period.DAY)
    assert admitted(of, 2) == 1
    limits.top_up(of, 2)
    assert admitted(of, 3) == 2
    clock(datetime(2026, 12, 1, tzinfo=UTC))
    assert admitted(of, 3) == 1


def test_a_top_up_after_the_clock_was_set_back_forgets_nothing(clock: SetClock) -> None:
    of = account(quota=3, period=Period.DAY)
    assert admitted(of, 2) == 2
    clock(MONDAY.timestamp() - 86_400)
    limits.top_up(of, 1)
    assert admitted(of, 5) == 2
    clock(MONDAY)
    assert admitted(of, 1) == 0


@pytest.mark.parametrize("other", [None, Period.WEEK, Period.MONTH])
def test_another_kind_of_period_begins_at_zero(clock: SetClock, other: Period | None) -> None:
    of = account(quota=2, period=Period.DAY)
    assert admitted(of, 3) == 2
    changed = Limits("k", "p", None, None, None if other is None else 2, other)
    assert admitted(changed, 3) == (3 if other is None else 2)
    assert admitted(of, 3) == 2


def test_a_lowered_limit_counts_what_was_used_and_a_raised_one_lets_in_at_once(clock: SetClock) -> None:
    of = account(quota=3, period=Period.DAY)
    assert admitted(of, 3) == 3
    lowered = Limits("k", "p", None, None, 2, Period.DAY)
    assert limits.admit(lowered).requests == -1
    raised = Limits("k", "p", None, None, 5, Period.DAY)
    assert admitted(raised, 5) == 2


def test_what_was_taken_back_can_be_used_again(clock: SetClock) -> None:
    of = account(rate=1.0, burst=1, quota=1, period=Period.DAY)
    limits.give_back(of, limits.admit(of))
    assert admitted(of, 2) == 1


def state() -> State:
    gate = Gate.objects.get()
    return State(gate.account, gate.tat, gate.period, gate.used, gate.extra, MONDAY.timestamp())


@pytest.mark.parametrize("seed", range(4))
def test_what_was_read_of_an_account_refuses_whom_the_statement_would_refuse(clock: SetClock, seed: int) -> None:
    chance, of = Random(seed), account()
    today, before, weekly = "D20261130", "D20261129", "W00002969"
    outcomes = Counter[str | None]()
    for _ in range(40):
        rate, burst = chance.choice([(None, None), (0.3, 1), (7.0, 20)])
        quota = chance.choice([None, 0, 1, 5])
        period = None if quota is None else chance.choice(list(Period))
        of = Limits("k", "p", rate, burst, quota, period, chance.choice([0, 1, 4]), chance.choice([None, MONDAY]))
        full = limits.tolerance_of(of)
        Gate.objects.update(
            tat=MONDAY.timestamp() + chance.choice([-50, 0, full - limits.interval_of(of), full, full + 1, 1e6]),
            period=chance.choice(["", before, today, "D20261201", weekly]),
            used=chance.randrange(6),
            extra=chance.randrange(2),
        )
        seen = state()
        by_state, by_statement = limits.admit(of, seen), limits.admit(of)
        if by_state.refused_by is not None:  # nothing was counted
            assert by_state == by_statement
        else:
            assert Gate.objects.get().used > 0
            Gate.objects.update(tat=seen.tat, period=seen.period, used=seen.used, extra=seen.extra)
            assert limits.admit(of) == by_state
        outcomes[by_state.refused_by] += 1
    assert set(outcomes) == {None, "quota", "throttle"}


def test_what_was_read_before_admits_nobody(clock: SetClock) -> None:
    of = account(quota=1, period=Period.DAY)
    seen = state()
    assert [limits.admit(of, seen).refused_by for _ in range(3)] == [None, "quota", "quota"]


def test_what_was_read_of_another_account_refuses_nobody(clock: SetClock) -> None:
    of = account(quota=1, period=Period.DAY)
    assert admitted(of, 1) == 1
    seen = state()
    Gate.objects.create(account="j", publication_id="p")
    assert limits.admit(Limits("j", "p", None, None, 1, Period.DAY), seen).refused_by is None


@pytest.mark.parametrize("period", [Period.DAY, Period.WEEK, Period.MONTH])
def test_python_and_the_database_name_a_period_alike(clock: SetClock, period: Period) -> None:
    of = account(quota=10**6, period=period)
    moment = datetime(2024, 2, 27, tzinfo=UTC).timestamp()
    for hours in range(0, 24 * 40, 7):
        clock(moment + hours * 3600)
        assert limits.admit(of).period == Gate.objects.get().period
        label = limits.label_of(period, datetime.fromtimestamp(moment + hours * 3600, UTC))
        assert Gate.objects.get().period == label
        assert limits.ends_at(period, label) > moment + hours * 3600

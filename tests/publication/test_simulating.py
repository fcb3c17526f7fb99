"""Limits are tried on paper with what was asked, and the paper says what the database would say."""

import json
import random
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from publication import limits, simulating
from publication.limits import Limits
from publication.models import ApiKey, Gate, Period, TurnRequest
from publication.simulating import Account, Request
from tests.bots.bot import make
from tests.publication.api import Api, work

pytestmark = [pytest.mark.django_db, pytest.mark.both]
START = datetime(2026, 11, 30, 12, tzinfo=UTC)


def of(rate: float | None = None, burst: int | None = None, quota: int | None = None, **columns: Any) -> Limits:
    return Limits("k", "p", rate, burst, quota, None if quota is None else columns.pop("period", Period.DAY), **columns)


@pytest.mark.parametrize(
    "wanted",
    [
        of(),
        of(rate=2.5, burst=3),
        of(quota=20),
        of(quota=40, period=Period.WEEK, rate=0.001, burst=50),
        of(quota=9, offset=4, first_key_at=START),
        of(quota=30, period=Period.MONTH, offset=7, first_key_at=START, rate=1.0, burst=2),
    ],
)
def test_the_paper_says_what_the_statement_says(wanted: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    Gate.objects.create(account="k", publication_id="p")
    chance, paper, now = random.Random(4711), Account(wanted), START.timestamp()
    for _ in range(150):
        now += chance.choice([0.0, 0.001, 0.1, 0.4, 1.0, 3.0, 3600.0, 40_000.0])
        now = round(now, 3)
        literal = f"{now:.6f}" if connection.vendor == "sqlite" else f"{now:.6f}::double precision"
        monkeypatch.setitem(limits.CLOCK, connection.vendor, literal)
        assert paper.ask(now) == limits.admit(wanted).refused_by, now
    row = Gate.objects.get()
    assert (paper.used, paper.period) == (row.used, row.period)


def test_keys_of_one_account_share_its_limits() -> None:
    shared = of(quota=3)
    requests = [Request(START.timestamp() + second, key) for second, key in enumerate("aabab")]
    outcomes = simulating.replay(requests, lambda _: shared)
    assert {key: (one.requests, one.over_quota) for key, one in outcomes.items()} == {"a": (3, 1), "b": (2, 1)}
    assert outcomes["a"].first_refusal_at == START.timestamp() + 3


@pytest.mark.parametrize(
    ("now", "period", "since"),
    [
        (datetime(2026, 11, 30, 12, tzinfo=UTC), Period.DAY, datetime(2026, 10, 1, tzinfo=UTC)),
        (datetime(2026, 1, 31, tzinfo=UTC), None, datetime(2025, 12, 1, tzinfo=UTC)),
        (datetime(2026, 11, 30, tzinfo=UTC), Period.WEEK, datetime(2026, 9, 27, tzinfo=UTC)),
    ],
)
def test_last_month_and_what_there_is_of_this_one(now: datetime, period: Period | None, since: datetime) -> None:
    assert simulating.beginning(now, period) == since


def simulate(*options: str) -> Any:
    output = StringIO()
    call_command("simulate_quota", "helper", *options, "--json", stdout=output)
    return json.loads(output.getvalue())


def ask(api: Api, times: int, days_ago: float) -> None:
    """So many questions at one moment in the past."""
    known = set(TurnRequest.objects.values_list("pk", flat=True))
    for _ in range(times):
        api.ask()
    TurnRequest.objects.exclude(pk__in=known).update(accepted_at=timezone.now() - timedelta(days=days_ago))


@pytest.mark.django_db(transaction=True)  # a question leaves all transactions
def test_a_lower_quota_says_for_each_key_what_it_would_have_refused(api: Api, dave: APIClient) -> None:
    ask(api, 3, 2.0)
    ask(api, 1, 90.0)
    first = ApiKey.objects.get()
    second = dave.post("/bot/helper/publication/api-key", {"description": "second"}, format="json").json()
    ask(Api(api.path, second["value"], api.client), 2, 1.0)
    simulated = simulate("--limit", "2", "--period", "DAY")
    rows = {row["key"]: row for row in simulated["keys"]}
    assert (rows[first.pk]["requests"], rows[first.pk]["refusedByQuota"], rows[first.pk]["mostInAPeriod"]) == (3, 1, 3)
    assert (rows[second["id"]]["requests"], rows[second["id"]]["refusedByQuota"]) == (2, 0)
    assert [row["refusedByThrottle"] for row in simulate("--rate", "0.5", "--burst", "1")["keys"]].count(0) == 0
    shared = simulate("--limit", "4", "--period", "MONTH", "--scope", "publication")["keys"]
    assert sum(row["admitted"] for row in shared) >= 4
    assert all(row["refusedByQuota"] == 0 for row in simulate()["keys"])


@pytest.mark.django_db(transaction=True)  # a question leaves all transactions
def test_what_the_ledger_alone_knows_counts_too(api: Api, emulator: Any) -> None:
    api.ask()
    work()
    assert [row["requests"] for row in simulate()["keys"]] == [1]
    TurnRequest.objects.all().delete()
    assert ModelCall.objects.exists()
    assert [row["requests"] for row in simulate()["keys"]] == [1]
    ApiKey.objects.all().delete()
    output = StringIO()
    call_command("simulate_quota", "helper", stdout=output)
    assert "(gone): 1 asked, 1 admitted, refused 0 by the throttle and 0 by the quota" in output.getvalue()


@pytest.mark.parametrize(
    "wrong",
    [["--limit", "5"], ["--rate", "1"], ["--limit", "0", "--period", "DAY"], ["--rate", "nan"], ["--period", "YEAR"]],
)
def test_limits_that_nobody_could_set_are_refused(api: Api, wrong: list[str]) -> None:
    with pytest.raises(CommandError):
        simulate(*wrong)


def test_nothing_is_known_of_a_bot_that_is_not_published(dave: APIClient) -> None:
    with pytest.raises(CommandError, match="No bot found with id: helper"):
        simulate()
    make(dave, "helper")
    with pytest.raises(CommandError, match=r"Bot helper is not published\."):
        simulate()

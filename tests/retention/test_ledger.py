"""Old calls and sums go, and every figure that is still shown is the one that it was."""

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bedrock_chat.ledger import retention as calls
from bedrock_chat.ledger import zones
from bedrock_chat.ledger.budgets import reconciling
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups import making, reading, rebuilding
from bedrock_chat.ledger.rollups import retention as sums
from bedrock_chat.ledger.rollups.models import (
    DayUsage,
    Dimension,
    DimensionUsage,
    Grain,
    LateEnd,
    Progress,
    QuarterHour,
    QuarterUsage,
)
from bedrock_chat.ledger.zones import Span, start_of
from bedrock_chat.retention import pruning
from bedrock_chat.retention.models import Hold, HoldKind
from bedrock_chat.retention.policies import Plan
from bedrock_chat.wire.errors import BadRequest
from tests.ledger.budgets.spending import budget, spend
from tests.ledger.calls import NOON, call, moments, random_call
from tests.ledger.test_rollups import figures, roll_up, tables
from tests.retention.keeping import OPERATOR, prune

pytestmark = [pytest.mark.both, pytest.mark.django_db]

WEEKS = Span(datetime(2026, 2, 22, tzinfo=UTC), datetime(2026, 4, 10, tzinfo=UTC))
END = WEEKS.end
ALL_OF_IT = zones.days(date(2026, 2, 1), date(2026, 4, 30))
KEPT = zones.days(date(2026, 3, 1), date(2026, 4, 30))
"""That of which there are sums when those of more than thirty days are gone."""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the pauses between SQLite's transactions, and its log, which the test's own transaction is in."""
    monkeypatch.setattr("bedrock_chat.database.connections.time.sleep", lambda seconds: None)
    monkeypatch.setattr(pruning, "truncate_log", lambda: None)


@pytest.fixture
def ledger(settings: Any) -> list[ModelCall]:
    """Calls of some weeks in Kathmandu, with their sums."""
    settings.REPORT_TIME_ZONE = "Asia/Kathmandu"
    rng = random.Random(16)
    ModelCall.objects.bulk_create(random_call(rng, at) for at in moments(rng, WEEKS, 120))
    roll_up(END)
    roll_up(END + making.WAIT)  # by now all rows are surely committed
    return list(ModelCall.objects.order_by("pk"))


def plan(ledger_days: int | None = None, rollup_days: int | None = None) -> Plan:
    return Plan(END, None, {}, ledger_days=ledger_days, rollup_days=rollup_days)


def all_figures(span: Span) -> list[Any]:
    return [figures(span, by) for by in Dimension]


def test_calls_go_from_the_lowest_key_on_and_no_figure_changes(ledger: list[ModelCall]) -> None:
    whole, before = tables(), all_figures(ALL_OF_IT)
    kept_from = start_of(zones.day_of(END - timedelta(days=20)))
    counts = prune(plan(20))
    rest = list(ModelCall.objects.order_by("pk"))
    assert counts == {"calls": len(ledger) - len(rest)}
    assert rest == [row for row in ledger if row.created_at >= kept_from]
    assert rest
    list(rebuilding.rebuild(resume=False))
    assert tables() == whole
    assert all_figures(ALL_OF_IT) == before
    assert prune(plan(20)) == {}


def test_no_call_goes_whose_month_has_no_sum_yet(ledger: list[ModelCall]) -> None:
    prune(Plan(END + timedelta(days=1000), None, {}, ledger_days=20))
    assert ModelCall.objects.order_by("pk").first() == next(
        row for row in ledger if zones.day_of(row.created_at) >= date(2026, 4, 1)
    )
    Progress.objects.update(zone="UTC")  # days and months are to be made anew
    assert prune(Plan(END + timedelta(days=1000), None, {}, ledger_days=20)) == {}


def test_calls_wait_for_sums_that_are_made_again(ledger: list[ModelCall]) -> None:
    LateEnd.objects.create(start=zones.quarter_of(ledger[0].created_at))
    assert prune(plan(20)) == {}
    roll_up(END + making.WAIT)
    assert prune(plan(20))["calls"] > 0


def test_calls_of_what_is_on_hold_stay_and_their_sums_as_they_are(ledger: list[ModelCall]) -> None:
    whole = tables()
    Hold.objects.create(kind=HoldKind.PERSON, target_id="alice", reason="r", placed_at=END)
    Hold.objects.create(kind=HoldKind.BOT, target_id="b1", reason="r", placed_at=END)
    prune(plan(20))
    kept_from = start_of(zones.day_of(END - timedelta(days=20)))
    old = ModelCall.objects.filter(created_at__lt=kept_from)
    kept = [row for row in ledger if row.payer_id == "alice" or row.bot_id == "b1"]
    assert list(old.order_by("pk")) == [row for row in kept if row.created_at < kept_from]
    list(rebuilding.rebuild(resume=False))
    assert tables() == whole
    Hold.objects.all().delete()
    assert prune(plan(20))["calls"] > 0
    assert not old.exists()


@pytest.mark.parametrize("rollup_days", [None, 30])
def test_a_run_that_is_cut_anywhere_goes_on(
    rollup_days: int | None, ledger: list[ModelCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ROWS_AT_A_TIME", 7)
    monkeypatch.setattr(sums, "AT_A_TIME", 50)
    before = all_figures(KEPT)
    rng = random.Random(3)
    for _ in range(6):
        steps = pruning.prune(plan(20, rollup_days), actor=OPERATOR)
        sizes = [some for _, some in zip(range(rng.randrange(1, 5)), steps, strict=False)]
        steps.close()
        assert all(some.get("calls", 0) <= 7 for some in sizes)
        assert all(number <= 50 for some in sizes for number in some.values())
        roll_up(END + making.WAIT)
        assert all_figures(KEPT) == before
    prune(plan(20, rollup_days))
    list(rebuilding.rebuild(resume=False))
    assert all_figures(KEPT) == before


def test_sums_go_by_whole_months_do_not_come_back_and_are_not_read_in_part(ledger: list[ModelCall]) -> None:
    before = all_figures(KEPT)
    Hold.objects.create(kind=HoldKind.PERSON, target_id="alice", reason="r", placed_at=END)
    counts = prune(plan(20, 30))
    assert counts["quarter hours"] > 0
    assert counts["days and months"] > 0
    whole, kept_from = tables(), reading.kept_from()
    assert kept_from == start_of(date(2026, 3, 1))
    assert not QuarterUsage.objects.filter(start__lt=kept_from).exists()
    assert not QuarterHour.objects.filter(start__lt=kept_from, last_key__lte=Progress.objects.get().pruned_key).exists()
    list(rebuilding.rebuild(resume=False))
    roll_up(END + timedelta(minutes=1))
    assert tables() == whole, "calls that are on hold make no sums anew"
    assert all_figures(KEPT) == before
    for read in (
        lambda: reading.usage(ALL_OF_IT, by=Dimension.USER),
        lambda: reading.usage_by_day(ALL_OF_IT, by=Dimension.BOT, value="b1"),
        lambda: reading.usage_of_payer(ALL_OF_IT, "alice"),
        lambda: reading.refusals(ALL_OF_IT),
    ):
        with pytest.raises(BadRequest, match="no figures of before 2026-03-01 00:00"):
            read()
    assert prune(plan(20, 30)) == {}
    assert prune(plan(20, 60)) == {}
    assert reading.kept_from() == kept_from, "a longer policy brings nothing back"


def test_a_report_that_reaches_too_far_back_says_so(ledger: list[ModelCall]) -> None:
    prune(plan(20, 30))
    call_command("usage_report", "--from", "2026-03-01", "--to", "2026-04-30", "--by", "user")
    with pytest.raises(CommandError, match="no figures of before 2026-03-01"):
        call_command("usage_report", "--from", "2026-02-28", "--to", "2026-04-30", "--by", "user")


def test_another_zone_has_its_days_made_of_the_sums_that_are_kept(ledger: list[ModelCall], settings: Any) -> None:
    prune(plan(20, 30))
    settings.REPORT_TIME_ZONE = "America/New_York"
    whole_days = zones.days(date(2026, 3, 1), date(2026, 4, 30))
    before = all_figures(whole_days)
    roll_up(END + timedelta(minutes=1))
    assert Progress.objects.get().zone == "America/New_York"
    assert all_figures(whole_days) == before
    prune(plan(20, 30))  # the month begins some hours later there
    assert reading.kept_from() == start_of(date(2026, 3, 1))
    assert all_figures(whole_days) == before


def test_budgets_agree_with_the_ledger_all_the_same() -> None:
    budget("alice", "1000")
    spend([(PayerKind.USER, "alice")], None, 7)
    old = [call(NOON + timedelta(days=number)) for number in range(3)]
    ModelCall.objects.all().delete()  # keys ascend with time
    ModelCall.objects.bulk_create(old)
    spend([(PayerKind.USER, "alice")], None, 5)
    reconciling.compare(BudgetCounter.objects.get(), repairs=True)
    now = ModelCall.objects.order_by("-pk")[0].created_at
    for minutes in (0, 11):
        roll_up(now + timedelta(minutes=minutes))
    assert prune(Plan(now, None, {}, ledger_days=40)) == {"calls": 3}
    assert [compared.difference for compared in reconciling.compare_all()] == [0]
    assert BudgetCounter.objects.get().used == 5


def test_what_is_too_old_is_found_by_indexes() -> None:
    def of(rows: Any) -> str:
        sql, parameters = rows.query.sql_with_params()
        explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
        with connection.cursor() as cursor:
            cursor.execute(f"{explain} {sql}", parameters)
            return " ".join(str(row) for row in cursor.fetchall())

    hours = [NOON + timedelta(hours=number) for number in range(3_000)]
    ModelCall.objects.bulk_create((call(at) for at in hours), batch_size=500)
    together = {"payer_id": "alice", "model": "m", "purpose": "turn"}
    QuarterUsage.objects.bulk_create((QuarterUsage(start=at, **together) for at in hours), batch_size=500)
    QuarterHour.objects.bulk_create((QuarterHour(at, 1, 1) for at in hours), batch_size=500)
    days = [NOON.date() + timedelta(days=number) for number in range(3_000)]
    DayUsage.objects.bulk_create((DayUsage(day=day, **together) for day in days), batch_size=500)
    of_alice = {"dimension": Dimension.USER, "grain": Grain.DAY, "value": "alice"}
    DimensionUsage.objects.bulk_create((DimensionUsage(day=day, **of_alice) for day in days), batch_size=500)
    Progress.objects.create()
    progress = Progress.objects.get()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plans = [of(ModelCall.objects.filter(pk__gt=500, pk__lte=1500).order_by("pk").values_list("pk")[:100])]
    plans += [of(rows.values_list("pk")[:100]) for _, rows in sums._rows(NOON + timedelta(days=2), progress)]
    scanned = [text for text in plans if "Seq Scan" in text or ("SCAN" in text and "INDEX" not in text)]
    small = ("refusal", "latency", "dimensionfault")  # which are empty, or a page
    assert [text for text in scanned if not any(name in text for name in small)] == []

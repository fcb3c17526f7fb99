"""A call is made only while every hard budget has room, and counts for what it used."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from bedrock_chat.bedrock import catalog, offering
from bedrock_chat.bedrock.catalog import PriceRow
from bedrock_chat.identity.caller import Caller, Published
from bedrock_chat.ledger.budgets import amounts, expiring, payers, periods, reconciling, reserving, setting
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Period, Reservation, Unit
from bedrock_chat.ledger.budgets.refusals import BudgetReserved, BudgetUsedUp, Unpriced
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.units import units_of
from tests.ledger.budgets.spending import OPERATOR, budget, reserve, spend

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ALICE = (PayerKind.USER, "alice")
STAFF = (PayerKind.GROUP, "staff")
BOT = (PayerKind.BOT, "b1")


def counter(**columns: object) -> BudgetCounter:
    return BudgetCounter.objects.get(**columns)


def test_who_has_no_budget_reserves_nothing() -> None:
    budget("alice", "100")
    assert reserve([(PayerKind.USER, "bob")]) is None
    assert not Reservation.objects.exists()


def test_a_call_is_admitted_while_used_and_reserved_are_below_the_allowance() -> None:
    budget("alice", "100")
    first = reserve([ALICE], 99)
    second = reserve([ALICE], 500)
    with pytest.raises(BudgetReserved, match="100 tokens left, which calls under way have reserved") as reserved:
        reserve([ALICE], 1)
    assert reserved.value.headers["Retry-After"] == "5"
    spend([ALICE], first, 60)
    spend([ALICE], second, 40)
    assert (counter().used, counter().reserved) == (100, 0)
    with pytest.raises(
        BudgetUsedUp, match=r"^Your budget of 100 tokens a month is used up until .* \(UTC\): 100 "
    ) as used:
        reserve([ALICE], 1)
    left = periods.present(timezone.now())[Period.MONTH].ends_at - timezone.now()
    assert abs(int(used.value.headers["Retry-After"]) - left.total_seconds()) < 5
    assert not Reservation.objects.exists()


def test_a_refused_call_reserves_nothing_of_the_others() -> None:
    budget("alice", "100")
    budget("staff", "0", kind=PayerKind.GROUP)
    with pytest.raises(BudgetUsedUp, match=r"^The budget of your group staff of 0 tokens"):
        reserve([ALICE, STAFF])
    assert counter(payer_id="alice").reserved == 0


def test_every_group_of_the_caller_must_have_room() -> None:
    for group, limit in (("staff", "100"), ("writers", "0")):
        budget(group, limit, kind=PayerKind.GROUP)
    staff = Caller("alice", groups=frozenset({"staff"}))
    both = Caller("alice", groups=frozenset({"staff", "writers"}))
    assert reserve(payers.payers_of(staff, None)) is not None
    with pytest.raises(BudgetUsedUp, match="group writers"):
        reserve(payers.payers_of(both, None))


def test_a_published_call_counts_for_its_owner_their_groups_the_bot_and_the_key() -> None:
    published = Published("b1", None, "olga", payer_groups=frozenset({"staff"}))
    actor = Caller(None, "p1", "k1", published=published)
    assert set(payers.payers_of(actor, "b1")) == {
        (PayerKind.GROUP, "staff"),
        (PayerKind.USER, "olga"),
        (PayerKind.BOT, "b1"),
        (PayerKind.KEY, "k1"),
    }


def test_a_model_without_a_price_is_refused_under_a_hard_budget_in_usd_alone() -> None:
    budget("alice", "100")
    budget("alice", "100", unit=Unit.USD, is_hard=False)
    assert reserve([ALICE], is_priced=False) is not None
    budget("alice", "100", unit=Unit.USD)
    with pytest.raises(Unpriced, match="A model has no price here"):
        reserve([ALICE], is_priced=False)
    assert counter(unit=Unit.TOKENS).reserved == 10


def test_a_model_is_priced_if_all_that_it_bills_has_a_price() -> None:
    model = catalog.find("claude-v4.5-sonnet")
    target = offering.route(model)
    assert reserving.estimate(model, target, 1000, 1000).is_priced
    row = PriceRow(Decimal(1), Decimal(1), None, None)
    for prices in ({}, {"default": row}):
        bare = replace(model, region_prices=prices, profile_prices={})
        assert not reserving.estimate(bare, target, 1000, 1000).is_priced


def test_a_soft_budget_admits_everything() -> None:
    budget("alice", "5", is_hard=False)
    spend([ALICE], reserve([ALICE]), 10)
    assert reserve([ALICE]) is not None
    assert counter().used == 10


def test_usd_and_tokens_days_weeks_and_months_are_counted_apart() -> None:
    for unit in Unit:
        for period in Period:
            budget("alice", "100", unit=unit, period=period)
    reservation = reserve([ALICE], 10, "0.5")
    assert {(row.unit, row.reserved) for row in BudgetCounter.objects.all()} == {("usd", 5 * 10**9), ("tokens", 10)}
    spend([ALICE], reservation, 7, "0.0000000003")
    assert {(row.unit, row.used, row.reserved) for row in BudgetCounter.objects.all()} == {
        ("usd", 3, 0),
        ("tokens", 7, 0),
    }


def test_a_call_over_midnight_counts_where_the_ledger_has_it() -> None:
    budget("alice", "100", period=Period.DAY)
    evening = timezone.now() - timedelta(days=1)
    reservation = reserve([ALICE], 50, now=evening)
    spend([ALICE], reservation, 7)
    today, yesterday = periods.present(timezone.now())[Period.DAY], periods.present(evening)[Period.DAY]
    assert [(row.label, row.used, row.reserved) for row in BudgetCounter.objects.order_by("label")] == [
        (yesterday.label, 0, 0),
        (today.label, 7, 0),
    ]


def test_a_new_period_begins_at_zero() -> None:
    budget("alice", "10", period=Period.DAY)
    spend([ALICE], reserve([ALICE]), 10)
    with pytest.raises(BudgetUsedUp):
        reserve([ALICE])
    assert reserve([ALICE], now=timezone.now() + timedelta(days=1)) is not None


def test_a_budget_counts_what_was_spent_before_it_was_set() -> None:
    spend([ALICE, BOT, STAFF, (PayerKind.GROUP, 'odd "group", [x]')], None, 30, "0.25")
    spend([ALICE], None, 1000, created_at=timezone.now() - timedelta(days=40))
    budget("alice", "100")
    budget("b1", "1", kind=PayerKind.BOT, unit=Unit.USD)
    budget("staff", "1", kind=PayerKind.GROUP)
    budget('odd "group", [x]', "1", kind=PayerKind.GROUP)
    budget("staf", "1", kind=PayerKind.GROUP)
    used = dict(BudgetCounter.objects.filter(payer_kind=PayerKind.GROUP).values_list("payer_id", "used"))
    assert used == {"staff": 30, 'odd "group", [x]': 30, "staf": 0}
    assert counter(payer_id="alice").used == 30
    assert counter(payer_id="b1").used == units_of(Decimal("0.25"))


def test_a_call_that_began_before_its_budget_counts_for_it() -> None:
    budget("staff", "100", kind=PayerKind.GROUP)
    reservation = reserve([ALICE, STAFF])
    budget("alice", "100")
    spend([ALICE, STAFF], reservation, 10)
    assert counter(payer_id="alice").used == 10


def test_a_changed_limit_holds_at_once_and_a_removed_budget_is_gone() -> None:
    row = budget("alice", "100")
    spend([ALICE], reserve([ALICE]), 10)
    budget("alice", "10")
    with pytest.raises(BudgetUsedUp):
        reserve([ALICE])
    budget("alice", "11")
    reservation = reserve([ALICE])
    setting.remove_budget(setting.Wanted(PayerKind.USER, "alice", Unit.TOKENS, Period.MONTH, True), actor=OPERATOR)
    assert reserve([ALICE]) is None
    spend([ALICE], reservation)  # what it had reserved is gone, and nothing fails
    assert not BudgetCounter.objects.filter(budget=row.pk).exists()


def test_what_expired_is_given_back_once() -> None:
    budget("alice", "100")
    reservation = reserve([ALICE], 60)
    assert reservation is not None
    assert expiring.return_all_expired() == 0
    Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expiring.return_all_expired() == 1
    assert counter().reserved == 0
    reserve([ALICE], 1)
    spend([ALICE], reservation, 7)  # its process was only slow
    assert (counter().used, counter().reserved) == (7, 1)


def test_the_heartbeat_keeps_the_reservations_of_calls_under_way() -> None:
    budget("alice", "100")
    reservation = reserve([ALICE])
    assert reservation is not None
    with expiring.kept(reservation.pk):
        Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        expiring.renew()
        assert expiring.return_all_expired() == 0
    Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expiring.renew()
    assert expiring.return_all_expired() == 1


def test_the_ledger_and_the_budgets_are_compared_and_corrected() -> None:
    budget("alice", "100")
    spend([ALICE], reserve([ALICE]), 10)
    assert [one.difference for one in reconciling.compare_all()] == [0]
    ModelCall.objects.update(input_tokens=13)
    assert [one.difference for one in reconciling.compare_all()] == [3]
    assert (counter().used, counter().difference) == (10, 3)
    list(reconciling.compare_all(repairs=True))
    assert [one.difference for one in reconciling.compare_all()] == [0]
    assert (counter().used, counter().difference) == (13, 0)


def test_odd_prices_add_up_to_the_last_digit() -> None:
    budget("alice", "1000", unit=Unit.USD)
    prices = [Decimal(number * 7919 % 10**10).scaleb(-10) for number in range(1, 300)]
    for price in prices[:20]:
        spend([ALICE], reserve([ALICE]), 1, str(price))
    ModelCall.objects.bulk_create(
        ModelCall(
            created_at=timezone.now(), purpose="turn", user_id="alice", payer_id="alice", latency_ms=1, price=price
        )
        for price in prices[20:]
    )
    assert counter().used == sum(map(units_of, prices[:20]))
    assert reconciling.in_ledger(counter()) == sum(map(units_of, prices))


@pytest.mark.parametrize(
    ("zone", "moment", "day", "week", "month", "starts"),
    [
        ("UTC", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2026-12-31", "2026-W53", "2026-12", "2026-12-28"),
        ("Europe/Berlin", datetime(2026, 12, 31, 23, 0, tzinfo=UTC), "2027-01-01", "2026-W53", "2027-01", "2026-12-28"),
        (
            "Asia/Kathmandu",
            datetime(2026, 11, 29, 18, 15, tzinfo=UTC),
            "2026-11-30",
            "2026-W49",
            "2026-11",
            "2026-11-30",
        ),
    ],
)
def test_periods_are_those_of_the_zone(
    settings: object, zone: str, moment: datetime, day: str, week: str, month: str, starts: str
) -> None:
    settings.REPORT_TIME_ZONE = zone  # type: ignore[attr-defined]
    spans = periods.present(moment)
    assert [span.label for span in spans.values()] == [day, week, month]
    for period, span in spans.items():
        assert span.starts_at <= moment < span.ends_at
        assert periods.of_label(period, span.label) == span
    assert spans[Period.WEEK].starts_at.astimezone(ZoneInfo(zone)).date().isoformat() == starts


@pytest.mark.parametrize("text", ["-1", "", "x", "NaN", "Infinity", "1e30", "0.00000000001", "100000000.1"])
def test_an_amount_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a number"):
        amounts.parsed(text, Unit.USD)


def test_amounts_are_read_and_shown_with_all_their_digits() -> None:
    assert amounts.sentence(amounts.parsed("1234.5", Unit.USD), Unit.USD) == "1,234.50 USD"
    assert amounts.sentence(amounts.parsed("0.0000000001", Unit.USD), Unit.USD) == "0.0000000001 USD"
    assert amounts.sentence(amounts.parsed("1000", Unit.TOKENS), Unit.TOKENS) == "1,000 tokens"
    with pytest.raises(ValueError, match="a whole number"):
        amounts.parsed("1.5", Unit.TOKENS)

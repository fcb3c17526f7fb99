"""The sums are the ledger's, to the last digit: in every zone, for every span, whatever came late or was cut short."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.utils import timezone

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Program
from bedrock_chat.ledger import persons, recording, zones
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups import histogram, making, reading, rebuilding, refusals, summing
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.ledger.rollups.models import (
    DayLatency,
    DayUsage,
    Dimension,
    DimensionFault,
    DimensionUsage,
    Grain,
    LateEnd,
    Latency,
    Progress,
    QuarterUsage,
    Refusal,
    Timed,
)
from bedrock_chat.ledger.zones import QUARTER, Span
from tests.ledger.calls import MODELS, NOON, added, call, moments, random_call

pytestmark = [pytest.mark.both, pytest.mark.django_db]

SLOW = pytest.mark.slow
MANY_PRICES = 1_000_000 if os.environ.get("SOAK") else 50_000
ZONES = (
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    *(pytest.param(zone, marks=SLOW) for zone in ("UTC", "America/New_York")),
)
MONTHS = Span(datetime(2026, 2, 25, tzinfo=UTC), datetime(2026, 4, 12, tzinfo=UTC))
"""Clocks change in it: in New York on 8 March, on Lord Howe Island, by half an hour, on 5 April (local time)."""
DAY = timedelta(days=1)
TABLES = (QuarterUsage, DayUsage, DimensionUsage, DimensionFault, Latency, DayLatency)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the pauses between SQLite's transactions: nobody else writes here."""
    monkeypatch.setattr("bedrock_chat.database.connections.time.sleep", lambda seconds: None)


def roll_up(now: datetime) -> None:
    for _ in making.steps(now):
        pass


def figures(span: Span, by: Dimension) -> dict[str, Any]:
    return {value: sums.document() for value, sums in reading.usage(span, by=by).items()}


def tables() -> list[list[tuple[Any, ...]]]:
    """All sums, without their keys."""
    rows = []
    for model in TABLES:
        names = [field.attname for field in model._meta.concrete_fields if not field.primary_key]
        rows.append(sorted(model.objects.values_list(*names)))
    return rows


def spans(rng: random.Random, count: int) -> Iterator[Span]:
    """Hours of the zone, sometimes whole days, sometimes months."""
    for _ in range(count):
        first = datetime.fromisoformat("2026-02-25") + timedelta(hours=rng.randrange(45 * 24))
        last = first + timedelta(hours=rng.choice([0, 5, 23, 24 * 9, 24 * 40]))
        yield zones.hours(first, last)
    yield zones.days(date(2026, 3, 1), date(2026, 3, 31))
    yield zones.days(date(2026, 2, 1), date(2026, 4, 30))


@pytest.mark.parametrize("zone", ZONES)
def test_sums_of_random_spans_are_those_of_the_ledger(zone: str, settings: Any) -> None:
    settings.REPORT_TIME_ZONE = zone
    rng = random.Random(zone)
    for at in moments(rng, MONTHS, 120):
        if rng.random() < 0.2:
            roll_up(at + timedelta(minutes=rng.randrange(3)))
        came_at = at - rng.choice([timedelta(0)] * 9 + [timedelta(hours=30), timedelta(days=20)])
        random_call(rng, came_at).save()
    roll_up(MONTHS.end - timedelta(hours=7))  # the last hours have no sums yet
    random_call(rng, MONTHS.end - timedelta(hours=1)).save()
    progress = Progress.objects.get()
    assert progress.months_until == progress.days_until
    assert progress.months_until in (date(2026, 4, 11), date(2026, 4, 12))  # a month that is not over has sums, too
    ledger = list(ModelCall.objects.all())
    for span in spans(rng, 8):
        for by in Dimension:
            assert figures(span, by) == added(ledger, span, by), (span, by)
            whole = {value: sums.document() for value, sums in reading.usage(span, by=by, with_faults=False).items()}
            expected = added(ledger, span, by)
            assert whole.keys() == expected.keys()
            assert all(whole[value]["price"] == sums["price"] for value, sums in expected.items())
            assert all(whole[value]["calls"] == sums["calls"] for value, sums in expected.items())
        for payer_id in {row.payer_id or "" for row in ledger}:
            own = [row for row in ledger if row.payer_id == payer_id]
            by_pair = reading.usage_of_payer(span, payer_id)
            for by, index in ((Dimension.MODEL, 0), (Dimension.BOT, 1)):
                for value, sums in added(own, span, by).items():
                    parts = [part for pair, part in by_pair.items() if pair[index] == value]
                    assert Figures.total(parts).document() == sums, (span, payer_id, value)


def test_days_of_one_bot_are_those_of_the_ledger(settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "Asia/Kathmandu"
    rng = random.Random(5)
    ModelCall.objects.bulk_create(random_call(rng, at) for at in moments(rng, MONTHS, 120))
    roll_up(MONTHS.end - timedelta(hours=40))
    span = zones.hours(datetime.fromisoformat("2026-02-26T05"), datetime.fromisoformat("2026-04-11T17"))
    ledger = list(ModelCall.objects.all())
    for by, value in ((Dimension.BOT, "b1"), (Dimension.GROUP, "sales")):
        for day, sums in reading.usage_by_day(span, by=by, value=value).items():
            whole = zones.days(day, day)
            part = Span(max(whole.start, span.start), min(whole.end, span.end))
            assert sums.document() == added(ledger, part, by)[value]
        total = sum(sums.calls for sums in reading.usage_by_day(span, by=by, value=value).values())
        assert total == added(ledger, span, by)[value]["calls"]


def test_days_of_every_model_and_their_latencies_are_those_of_the_ledger(settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "Asia/Kathmandu"
    rng = random.Random(8)
    ModelCall.objects.bulk_create(random_call(rng, at) for at in moments(rng, MONTHS, 120))
    roll_up(MONTHS.end - timedelta(hours=40))
    span = zones.days(date(2026, 2, 26), date(2026, 4, 11))
    ledger = list(ModelCall.objects.all())
    by_day = reading.usage_by_day_and_value(span, by=Dimension.MODEL)
    latencies = reading.latencies_by_day(span, timed=Timed.FIRST_TOKEN)
    assert len(by_day) > 20
    for day in (span.start + number * DAY for number in range(45)):
        whole = zones.days(zones.day_of(day), zones.day_of(day))
        documents = {model: sums.document() for model, sums in by_day.get(zones.day_of(day), {}).items()}
        assert documents == added(ledger, whole, Dimension.MODEL)
        if whole.end > MONTHS.end - timedelta(hours=48):
            continue  # not every quarter of an hour of it is made
        timed = [row for row in ledger if whole.start <= row.created_at < whole.end and not row.fault]
        counts = Counter(histogram.bucket_of(row.first_token_ms) for row in timed if row.first_token_ms)
        assert latencies.get(zones.day_of(day), {}) == counts
    by_model = reading.latencies_by_model(span, timed=Timed.FIRST_TOKEN)
    assert len(by_model) == len(MODELS)
    assert sum(by_model.values(), Counter()) == sum(latencies.values(), Counter())
    total = reading.latencies(span, timed=Timed.FIRST_TOKEN, model=MODELS[0])
    assert by_model[MODELS[0]] == total


@pytest.mark.parametrize("count", [2_000, pytest.param(MANY_PRICES, marks=pytest.mark.slow)])
def test_odd_prices_add_up_to_the_last_of_ten_digits(count: int) -> None:
    rng = random.Random(6)
    total = Decimal(0)
    for first in range(0, count, 2_000):
        prices = [Decimal(rng.randrange(1, 10**13)).scaleb(-10) for _ in range(2_000)]
        total += sum(prices)
        calls = [call(NOON + QUARTER * ((first + index) % 5), price=price) for index, price in enumerate(prices)]
        ModelCall.objects.bulk_create(calls)
    roll_up(NOON + DAY * 2)
    for sums in (QuarterUsage.objects.all(), DayUsage.objects.all()):
        assert sum(sums.values_list("price", flat=True)) == total.scaleb(10)
    [alices] = reading.usage(zones.days(NOON.date(), NOON.date()), by=Dimension.USER).values()
    assert (alices.calls, alices.price) == (count, total)


def test_a_quarter_hour_waits_ten_minutes_and_is_read_from_the_ledger_meanwhile() -> None:
    call(NOON).save()
    roll_up(NOON + timedelta(minutes=24))
    assert not QuarterUsage.objects.exists()
    assert figures(Span(NOON, NOON + QUARTER), Dimension.USER)["alice"]["calls"] == 1
    roll_up(NOON + timedelta(minutes=25))
    assert [row.calls for row in QuarterUsage.objects.all()] == [1]
    assert figures(Span(NOON, NOON + QUARTER), Dimension.USER)["alice"]["calls"] == 1


def test_a_late_row_is_in_the_sums_of_its_quarter_hour_its_day_its_third_and_its_month() -> None:
    call(NOON).save()
    roll_up(NOON + DAY * 40)
    call(NOON + timedelta(minutes=1)).save()
    call(NOON + timedelta(hours=1), payer_id="bob", user_id="bob").save()
    roll_up(NOON + DAY * 40 + timedelta(minutes=1))
    assert [row.calls for row in QuarterUsage.objects.order_by("start")] == [2, 1]
    by_user = DimensionUsage.objects.filter(dimension=Dimension.USER).order_by("value", "grain")
    assert [(row.grain, row.value, row.calls) for row in by_user] == [
        ("day", "alice", 2),
        ("month", "alice", 2),
        ("third", "alice", 2),
        ("day", "bob", 1),
        ("month", "bob", 1),
        ("third", "bob", 1),
    ]


def test_a_day_that_joins_its_month_while_a_report_is_read_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ModelCall.objects.bulk_create([call(NOON + day * DAY) for day in range(-2, 1)])
    roll_up(NOON)
    read = summing.add_up

    def read_after_midnight(*arguments: Any, **named: Any) -> Any:
        roll_up(NOON + DAY)
        return read(*arguments, **named)

    monkeypatch.setattr(summing, "add_up", read_after_midnight)
    assert figures(Span(NOON - 2 * DAY, NOON + DAY), Dimension.USER)["alice"]["calls"] == 3


def test_a_call_that_ends_after_its_sums_were_made_is_counted_with_what_it_cost() -> None:
    began = timezone.now() - timedelta(hours=2)
    row = call(began, fault=recording.PROCESS_LOST, price=None, input_tokens=0, output_tokens=0)
    begun = recording.begin(row)
    roll_up(timezone.now())
    assert [sums.fault for sums in QuarterUsage.objects.all()] == [recording.PROCESS_LOST]
    ended = call(began, price=Decimal("0.5"))
    recording.ended(ended, begun)
    with Batch() as batch:
        recording.insert(batch, [ended])
    roll_up(timezone.now())
    assert [(sums.fault, sums.price) for sums in QuarterUsage.objects.all()] == [("", 5 * 10**9)]
    assert not LateEnd.objects.exists()


def test_a_call_that_ends_in_time_costs_no_statement_more(django_assert_num_queries: Any) -> None:
    row = call(timezone.now())
    recording.ended(row, recording.begin(row))
    with django_assert_num_queries(1), Batch() as batch:
        recording.insert(batch, [row])


def test_a_job_that_is_cut_anywhere_goes_on_to_the_same_sums() -> None:
    rng = random.Random(7)
    ModelCall.objects.bulk_create(random_call(rng, at) for at in moments(rng, MONTHS, 60))
    roll_up(MONTHS.end)
    whole = tables()
    for model in (*TABLES, Progress):
        model.objects.all().delete()
    for steps in range(1000):
        before = Progress.objects.values_list().first()
        cut = making.steps(MONTHS.end)
        for _, _ in zip(range(1 + steps % 3), cut, strict=False):
            pass
        cut.close()
        if Progress.objects.values_list().first() == before and steps > 3:
            break
    roll_up(MONTHS.end)
    assert tables() == whole


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_rebuild_makes_the_same_sums(is_cut: bool) -> None:
    rng = random.Random(8)
    ModelCall.objects.bulk_create(random_call(rng, at) for at in moments(rng, MONTHS, 60))
    roll_up(MONTHS.end)
    whole = tables()
    QuarterUsage.objects.filter(bot_id="b1").update(calls=77)
    DimensionUsage.objects.filter(value="bob").update(price=7)
    DayUsage.objects.filter(user_id="alice").delete()
    if is_cut:
        days = rebuilding.rebuild(resume=False)
        next(days), next(days)
        days.close()
    assert tables() != whole
    assert list(rebuilding.rebuild(resume=is_cut))
    assert tables() == whole


def test_thirds_are_made_of_the_days_that_were_there_before_there_were_thirds() -> None:
    rng = random.Random(9)
    ModelCall.objects.bulk_create(random_call(rng, at) for at in moments(rng, MONTHS, 60))
    roll_up(MONTHS.end)
    whole = tables()
    for sums in (DimensionUsage, DimensionFault):
        assert sums.objects.filter(grain=Grain.THIRD).delete()[0]
    import_module("bedrock_chat.migrations.0031_thirds_of_months").begin_months_anew(apps, None)
    span = zones.hours(datetime.fromisoformat("2026-02-26T05"), datetime.fromisoformat("2026-04-10T17"))
    assert figures(span, Dimension.USER) == added(list(ModelCall.objects.all()), span, Dimension.USER)
    roll_up(MONTHS.end)
    assert tables() == whole


def test_sums_stay_when_the_rows_they_were_made_of_are_gone() -> None:
    calls = [call(NOON), call(NOON + DAY)]
    for row in calls:
        row.save()
    roll_up(NOON + DAY * 3)
    calls[0].delete()
    list(rebuilding.rebuild(resume=False))
    assert QuarterUsage.objects.count() == 2


def test_another_zone_has_days_and_months_of_its_own(settings: Any) -> None:
    late_evening = datetime(2026, 2, 28, 22, tzinfo=UTC)
    call(late_evening).save()
    call(datetime(2026, 4, 20, tzinfo=UTC), payer_id="bob", user_id="bob").save()
    roll_up(datetime(2026, 5, 2, tzinfo=UTC))
    february = zones.days(date(2026, 2, 1), date(2026, 2, 28))
    assert figures(february, Dimension.USER)["alice"]["calls"] == 1
    settings.REPORT_TIME_ZONE = "Asia/Kathmandu"
    february, march = zones.days(date(2026, 2, 1), date(2026, 2, 28)), zones.days(date(2026, 3, 1), date(2026, 3, 31))
    assert figures(february, Dimension.USER) == {}
    assert figures(march, Dimension.USER)["alice"]["calls"] == 1  # by quarter hours
    roll_up(datetime(2026, 5, 2, 1, tzinfo=UTC))
    assert figures(march, Dimension.USER)["alice"]["calls"] == 1
    months = DimensionUsage.objects.filter(grain="month", value="alice").values_list("day", flat=True)
    assert list(months) == [date(2026, 3, 1)]
    assert not DayUsage.objects.filter(day=date(2026, 2, 28)).exists()


def test_an_erased_person_is_named_in_no_sum_and_the_sums_stay() -> None:
    alice = local.local_user("alice")
    at = timezone.now() - DAY * 2
    call(at, user_id=alice.pk, payer_id=alice.pk).save()
    call(at, user_id=None, payer_id=alice.pk, publication_id="p", key_id="k").save()
    roll_up(timezone.now())
    refusals.count("quota", payer_id=alice.pk)
    refusals.write()
    refusals.count("quota", payer_id=alice.pk)
    list(persons.finish_erasing(alice.pk, actor=Program.command("erase_user")))
    alice_id, _ = alice.pk, alice.delete()
    refusals.write()
    assert sum(Refusal.objects.values_list("count", flat=True)) == 2
    whole = tables()
    assert alice_id not in repr(whole) + repr(list(Refusal.objects.values_list()))
    list(rebuilding.rebuild(resume=False))
    assert tables() == whole
    [(name, sums)] = figures(zones.days(date(2020, 1, 1), timezone.now().date()), Dimension.USER).items()
    assert name.startswith("erased:")
    assert sums["calls"] == 2


def test_refusals_are_counted_without_a_call(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        for _ in range(3):
            refusals.count("throttle", payer_id="alice", bot_id="b", key_id="k")
    refusals.write()
    refusals.count("throttle", payer_id="alice", bot_id="b", key_id="k")
    refusals.write()
    today = Span(timezone.now() - DAY, timezone.now() + DAY)
    assert Refusal.objects.get().count == 4
    assert reading.refusals(today) == {"throttle": 4}
    assert not ModelCall.objects.exists()


def test_strangers_cannot_fill_the_memory_with_counters() -> None:
    for number in range(refusals.MOST_KINDS + 5):
        refusals.count("throttle", key_id=str(number))
    assert len(refusals._waiting) <= refusals.MOST_KINDS + 1
    assert sum(refusals._waiting.values()) == refusals.MOST_KINDS + 5


def test_half_of_the_calls_took_no_longer_than_the_median_says() -> None:
    for milliseconds in (100, 200, 300, 400, 90_000):
        call(NOON, latency_ms=milliseconds, first_token_ms=milliseconds // 10).save()
    call(NOON, latency_ms=1, fault="ThrottlingException").save()
    roll_up(NOON + DAY)
    span = Span(NOON, NOON + QUARTER)
    counts = reading.latencies(span, timed=Timed.TOTAL)
    assert sum(counts.values()) == 5
    assert 300 <= (histogram.percentile(counts, 0.5) or 0) <= 315
    assert 90_000 <= (histogram.percentile(counts, 0.99) or 0) <= 94_500
    assert 30 <= (histogram.percentile(reading.latencies(span, timed=Timed.FIRST_TOKEN), 0.5) or 0) <= 32
    assert histogram.percentile({}, 0.5) is None

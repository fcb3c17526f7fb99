"""Calls that embed texts: a row for all of a batch, who pays for it, and what a budget without room says."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from bedrock_chat.bedrock import catalog, embeddings, faults, offering, request
from bedrock_chat.bedrock.embeddings import Embedded
from bedrock_chat.checks import models_exist
from bedrock_chat.identity.caller import Caller, Published
from bedrock_chat.identity.models import User
from bedrock_chat.ledger import embedding_calls, recording, throttling
from bedrock_chat.ledger.budgets import periods, reconciling, reserving
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Period, Reservation, Unit
from bedrock_chat.ledger.embedding_calls import NoRoom
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.ledger.zones import DAY, Span
from tests.ledger.budgets.spending import budget

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def olga() -> User:
    return User.objects.create(username="olga", token_groups=["writers", "staff"])


def embedded(calls: int = 96, tokens: int = 1000, *, fault: faults.ModelFault | None = None) -> Embedded:
    return Embedded((), frozenset(), tokens, calls, estimated=False, latency_ms=40, fault=fault)


def sync(owner: User, outcome: Embedded, *, texts: Sequence[str] = ("a" * 400,)) -> ModelCall | None:
    """What a job does for a batch, but for the call."""
    actor, model = embedding_calls.owner_pays(owner), embeddings.model("titan_v2")
    reservation = embedding_calls.reserve(actor, model, texts, bot_id="b1")
    call = embedding_calls.build(actor, model, outcome, bot_id="b1")
    with transaction.atomic():
        embedding_calls.write(call, reservation)
    return call


def this_day() -> Span:
    return Span(timezone.now() - DAY, timezone.now() + DAY)


def test_a_batch_is_one_row_whose_owner_pays_with_the_groups_last_seen(olga: User) -> None:
    sync(olga, embedded())
    [row] = ModelCall.objects.all()
    assert (row.purpose, row.calls, row.number_of_calls, row.bot_id) == (Purpose.EMBEDDING, 96, 96, "b1")
    assert (row.user_id, row.payer_id, row.groups) == (olga.pk, olga.pk, ["staff", "writers"])
    assert (row.model, row.model_id, row.region) == ("titan_v2", "amazon.titan-embed-text-v2:0", "us-east-1")
    assert (row.input_tokens, row.price) == (1000, Decimal("0.00002"))
    assert sync(olga, embedded(calls=0, tokens=0)) is None
    assert ModelCall.objects.count() == 1


def test_sums_count_the_calls_of_a_row_and_one_of_them_as_failed(olga: User) -> None:
    sync(olga, embedded(96))
    sync(olga, embedded(7, fault=faults.Throttled()))
    sync(olga, embedded(1, tokens=0, fault=faults.Throttled()))
    [figures] = reading.usage(this_day(), by=Dimension.BOT).values()
    assert (figures.calls, figures.input_tokens, figures.throttles) == (104, 2000, 2)
    assert figures.price == Decimal("0.00004")
    assert reading.people_of_bot(this_day(), "b1") == 0  # its owner has asked it nothing


def test_throttles_of_embeddings_are_told_by_share_of_calls(olga: User, settings: Any) -> None:
    settings.ALERT_THROTTLE_PERCENT = 5
    sync(olga, embedded(90, fault=faults.Throttled()))
    assert list(throttling.problems()) == []
    for _ in range(5):
        sync(olga, embedded(1, fault=faults.Throttled()))
    [problem] = throttling.problems()
    assert problem.sentence == "Bedrock throttled 6 % of the last 95 calls to titan_v2."
    assert problem.link.endswith("/modelcall/?model=titan_v2")


def test_a_question_is_its_askers_and_its_turns(olga: User) -> None:
    published = Published("b1", None, olga.pk, user_label="customer 7", payer_groups=frozenset({"staff"}))
    actor, model = Caller(None, "p1", "k1", published=published), embeddings.model("cohere_multilingual_v3")
    call = embedding_calls.build(
        actor,
        model,
        embedded(1, 20),
        bot_id="b1",
        conversation_external_id="c1",
        message_external_id="m1",
        turn_id="01HZZZZZZZZZZZZZZZZZZZZZZZ",
    )
    assert call is not None
    recording.insert_late([call], None)
    row = ModelCall.objects.get()
    assert (row.user_id, row.payer_id, row.key_id, row.user_label) == (None, olga.pk, "k1", "customer 7")
    assert (row.conversation_external_id, row.message_external_id, row.turn_id) == ("c1", "m1", call.turn_id)
    assert (row.price, row.number_of_calls) == (Decimal("0.000002"), 1)


def test_a_batch_is_reserved_and_counts_for_what_it_used(olga: User) -> None:
    budget(olga.pk, "1500")
    budget("b1", "1", kind=PayerKind.BOT, unit=Unit.USD)
    sync(olga, embedded(96, 1000))
    assert not Reservation.objects.exists()
    assert sorted(BudgetCounter.objects.values_list("used", "reserved")) == [(1000, 0), (200_000, 0)]
    reservation = embedding_calls.reserve(
        embedding_calls.owner_pays(olga), embeddings.model("titan_v2"), ["a" * 4000], bot_id="b1"
    )
    assert BudgetCounter.objects.get(unit=Unit.TOKENS).reserved == 1000
    with pytest.raises(NoRoom, match=r"^The budget of this bot's owner has no room beside the calls") as reserved:
        sync(olga, embedded())
    assert reserved.value.until is not None
    with transaction.atomic():
        embedding_calls.write(None, reservation)  # no call was made
    assert not Reservation.objects.exists()
    assert [compared.difference for compared in reconciling.compare_all()] == [0, 0]


def test_a_sync_without_room_says_which_budget_and_until_when(olga: User, settings: Any) -> None:
    budget("staff", "900", kind=PayerKind.GROUP)
    sync(olga, embedded(96, 1000))
    with pytest.raises(NoRoom) as refused:
        sync(olga, embedded())
    ends_at = periods.present(timezone.now())[Period.MONTH].ends_at
    assert refused.value.until == ends_at
    sentence = f"The budget of the owner's group staff of 900 tokens a month is used up until {ends_at:%Y-%m-%d} 00:00"
    assert refused.value.sentence == f"{sentence} (UTC)."
    assert ModelCall.objects.count() == 1


def test_a_page_is_read_for_its_owners_money_too(olga: User) -> None:
    actor, haiku = embedding_calls.owner_pays(olga), catalog.find("claude-v4.5-haiku")
    page = request.compose(haiku, offering.route(haiku), [{"role": "user", "content": [{"text": "Read this page."}]}])
    assert embedding_calls.reserve_pages(actor, reserving.estimate_of(page), bot_id="b1") is None
    budget("b1", "0", kind=PayerKind.BOT)
    with pytest.raises(NoRoom, match=r"^The budget of this bot of 0 tokens a month is used up until "):
        embedding_calls.reserve_pages(actor, reserving.estimate_of(page), bot_id="b1")


def test_an_owner_who_is_erased_meanwhile_is_named_nowhere(olga: User) -> None:
    actor, model = embedding_calls.owner_pays(olga), embeddings.model("titan_v2")
    call = embedding_calls.build(actor, model, embedded(), bot_id="b1")
    olga.delete()
    with transaction.atomic():
        embedding_calls.write(call, None)
    row = ModelCall.objects.get()
    assert str(row.user_id).startswith("erased:")
    assert row.payer_id == row.user_id


def test_operators_may_price_embedding_models_and_see_what_they_cost(
    olga: User, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.MODEL_PRICES = {"titan_v2": {"input": 0.5}}
    assert models_exist() == []
    sync(olga, embedded(1, 1000))
    assert ModelCall.objects.get().price == Decimal("0.5")
    call_command("prices")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[-2:]] == ["0.0001", "0.5"]
    assert "MODEL_PRICES; else aws-pricing" in lines[-1]

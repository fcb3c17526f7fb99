"""A turn is asked only while every budget has room; what it used is counted with its ledger row."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.budgets import reconciling
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Period, Reservation, Unit
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.units import units_of
from conversations.models import Conversation, Message
from tests.bots.bot import make
from tests.conversations.chat import say
from tests.conversations.test_queries import alice_of, statements
from tests.emulator import Emulator
from tests.ledger.budgets.spending import budget

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

ClientOf = Callable[..., APIClient]


def counter() -> BudgetCounter:
    return BudgetCounter.objects.get()


def agrees() -> bool:
    """Whether every budget has used what the ledger says, and nothing is reserved."""
    compared = list(reconciling.compare_all())
    return (
        all(one.difference == 0 for one in compared)
        and not BudgetCounter.objects.exclude(reserved=0).exists()
        and not Reservation.objects.exists()
    )


@pytest.fixture
def alice(client_of: ClientOf, emulator: Emulator) -> APIClient:
    client = client_of("alice", "staff")
    alice_of(client)
    return client


def pk_of(username: str) -> str:
    return str(User.objects.get(username=username).pk)


def test_a_turn_counts_what_its_ledger_row_says(alice: APIClient) -> None:
    for unit in Unit:
        for period in Period:
            budget(pk_of("alice"), "1000000", unit=unit, period=period)
    budget("staff", "1000000", kind=PayerKind.GROUP)
    for text in ("hello", "[[stop]] again"):
        assert say(alice, "c1", text).status_code == 200
    assert agrees()
    used = sum(units_of(price) for price in ModelCall.objects.values_list("price", flat=True) if price is not None)
    assert set(BudgetCounter.objects.filter(unit=Unit.USD).values_list("used", flat=True)) == {used}
    assert used > 0


def test_a_used_up_budget_refuses_the_next_turn_and_stores_nothing_of_it(alice: APIClient) -> None:
    budget(pk_of("alice"), "1")
    assert say(alice, "c1", "hello").status_code == 200
    refused = say(alice, "c2", "hello")
    assert refused.status_code == 429
    assert refused.json()["detail"].startswith("Your budget of 1 tokens a month is used up until ")
    assert int(refused["Retry-After"]) > 0
    assert not Conversation.objects.filter(external_id="c2").exists()
    again = say(alice, "c1", "more")
    assert again.status_code == 429
    assert Message.objects.count() == 2
    assert agrees()


def test_somebody_unknown_is_bounded_from_their_first_request_on(client_of: ClientOf, emulator: Emulator) -> None:
    budget("guests", "0", kind=PayerKind.GROUP)
    assert say(client_of("bob", "guests"), "c1", "hello").status_code == 429
    assert say(client_of("carol"), "c1", "hello").status_code == 200


@pytest.mark.parametrize("prompt", ["[[validation]]", "[[cut]]", "[[fault:ModelErrorException:after:3]]"])
def test_a_turn_that_fails_counts_what_its_ledger_row_says(alice: APIClient, prompt: str) -> None:
    budget(pk_of("alice"), "1000000")
    assert say(alice, "c1", f"{prompt} [[words:9]]").status_code >= 400
    assert ModelCall.objects.exists()
    assert agrees()


def test_a_title_is_not_proposed_without_room(alice: APIClient) -> None:
    assert say(alice, "c1", "hello there").status_code == 200
    budget(pk_of("alice"), "1000000")
    assert alice.get("/conversation/c1/proposed-title").status_code == 200
    assert ModelCall.objects.count() == 2
    assert agrees()
    budget(pk_of("alice"), "1")
    assert alice.get("/conversation/c1/proposed-title").json() == {"title": "hello there"}
    assert ModelCall.objects.count() == 2


def test_a_turn_costs_at_most_five_statements_more(alice: APIClient) -> None:
    costs = []
    for is_budgeted in (False, True, True):
        if is_budgeted and len(costs) == 1:
            for group, kind in ((pk_of("alice"), PayerKind.USER), ("staff", PayerKind.GROUP)):
                for unit in Unit:
                    budget(group, "1000000", kind=kind, unit=unit)
            say(alice, "c0", "so that the process knows of them")
        with CaptureQueriesContext(connection) as captured:
            assert say(alice, f"c{len(costs) + 1}", "hello").status_code == 200
        costs.append(len(statements(captured)))
    assert costs[1:] == [costs[0] + 5] * 2


def test_the_money_of_a_turn_is_exact(alice: APIClient) -> None:
    budget(pk_of("alice"), "100", unit=Unit.USD)
    assert say(alice, "c1", "hello").status_code == 200
    [price] = ModelCall.objects.values_list("price", flat=True)
    assert price is not None
    assert Decimal(counter().used).scaleb(-10) == price


def test_what_is_left_stands_in_the_response(alice: APIClient) -> None:
    budget(pk_of("alice"), "1000000", is_hard=False)
    budget("staff", "2.5", kind=PayerKind.GROUP, unit=Unit.USD, period=Period.DAY)
    first = say(alice, "c1", "hello")
    assert set(first["X-Budget-Remaining"].split(", ")) == {
        "1000000;unit=tokens;period=month;payer=user",
        "2.5;unit=usd;period=day;payer=group",
    }
    second = say(alice, "c1", "hello")
    tokens = ModelCall.objects.order_by("pk").values_list("input_tokens", "output_tokens")[0]
    assert f"{1000000 - sum(tokens)};unit=tokens" in second["X-Budget-Remaining"]
    answered_before = say(alice, "c1", "hello", message_id="m1")
    assert answered_before.status_code == 200
    assert "X-Budget-Remaining" not in say(alice, "c1", "hello", message_id="m1")


def test_what_is_left_of_others_budgets_is_not_told(client_of: ClientOf, emulator: Emulator) -> None:
    dave = client_of("dave", "CreatingBotAllowed")
    make(dave, "b1")
    budget("b1", "1000000", kind=PayerKind.BOT)
    answered = say(dave, "c1", "hello", bot_id="b1")
    assert answered.status_code == 200
    assert "X-Budget-Remaining" not in answered
    assert counter().used > 0
    assert dave.get("/budget").json()["budgets"] == []


def test_everybody_reads_what_they_may_still_spend_and_what_they_used(alice: APIClient, client_of: ClientOf) -> None:
    assert alice.get("/budget").json()["used"]["calls"] == 0
    budget(pk_of("alice"), "1000000")
    budget("staff", "0.00001", kind=PayerKind.GROUP, unit=Unit.USD, period=Period.WEEK, is_hard=False)
    budget("others", "5", kind=PayerKind.GROUP)
    assert say(alice, "c1", "hello").status_code == 200
    assert say(client_of("bob"), "c1", "hello").status_code == 200
    with CaptureQueriesContext(connection) as captured:
        answer = alice.get("/budget").json()
    assert len(statements(captured)) == 5  # user; progress, the ledger of what has no sums yet; budgets, counters
    call = ModelCall.objects.get(payer_id=pk_of("alice"))
    own, of_group = answer["budgets"]
    assert (own["payer"], own["group"], own["hard"], own["exceeded"]) == ("user", None, True, False)
    assert own["used"] == call.input_tokens + call.output_tokens
    assert own["remaining"] == 1000000 - own["used"]
    assert (of_group["group"], of_group["hard"], of_group["exceeded"], of_group["remaining"]) == (
        "staff",
        False,
        True,
        0,
    )
    assert call.price is not None
    assert of_group["used"] == answer["used"]["price"] == float(call.price)
    assert answer["byModel"] == [{"model": call.model, **answer["used"]}]
    assert answer["byBot"] == [{"botId": None, **answer["used"]}]
    assert own["startsAt"] == answer["since"] < own["endsAt"]

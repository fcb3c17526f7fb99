"""Budgets are exact to one call, however many processes spend at once, and whatever is killed meanwhile."""

import os
import random
import signal
import time
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.db.utils import OperationalError
from django.utils import timezone

from bedrock_chat.ledger.budgets import expiring, payers, reconciling
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Period, Reservation, Unit
from bedrock_chat.ledger.budgets.refusals import BudgetExceeded
from bedrock_chat.ledger.models import ModelCall
from tests.ledger.budgets.spending import budget, reserve, spend
from tests.publication.test_together import EACH, PROCESSES, SLOW, in_processes

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

ALICE = (PayerKind.USER, "alice")
STAFF = (PayerKind.GROUP, "staff")
BOT = (PayerKind.BOT, "b1")
PRICES = ["0.0000000001", "0.0123456789", "0.3333333333", "0"]


def again(act: object) -> object:
    """Calls until the database answers: SQLite's lock may be busy for too long, which is a 503 and counts nothing."""
    while True:
        try:
            return act()  # type: ignore[operator]
        except OperationalError:
            continue


def admitted(of: list[tuple[str, str]], calls: int, *, closes: bool = False) -> int:
    """Opens calls, of a token each. Returns how many were admitted."""
    payers.forget()
    count = 0
    for _ in range(calls):
        try:
            reservation = again(lambda: reserve(of, 1))
        except BudgetExceeded:
            continue
        count += 1
        if closes:
            again(lambda kept=reservation: spend(of, kept, 1))  # type: ignore[misc]
    return count


@pytest.mark.parametrize("closes", [False, True], ids=["open calls", "closed calls"])
def test_never_one_call_more_than_there_is_room_for(*, closes: bool) -> None:
    budget("staff", str(PROCESSES * EACH), kind=PayerKind.GROUP, is_hard=False)
    limit = PROCESSES * EACH // 2
    budget("alice", str(limit))
    assert sum(in_processes(lambda: admitted([STAFF, ALICE], EACH, closes=closes))) == limit
    for counter in BudgetCounter.objects.all():
        assert (counter.used, counter.reserved) == ((limit, 0) if closes else (0, limit))


def test_the_first_calls_of_a_period_make_one_counter() -> None:
    budget("staff", "100", kind=PayerKind.GROUP)
    budget("b1", "7", kind=PayerKind.BOT, period=Period.DAY)
    BudgetCounter.objects.all().delete()
    assert sum(in_processes(lambda: admitted([STAFF, BOT], EACH))) == 7
    assert BudgetCounter.objects.count() == 2


def test_budgets_agree_with_the_ledger_after_random_calls_and_kills() -> None:
    """Processes spend at random, over several budgets in turn, and some are killed with reservations open."""
    for unit in Unit:
        budget("alice", "100000", unit=unit)
        budget("staff", "100000", kind=PayerKind.GROUP, unit=unit, period=Period.WEEK)
        budget("b1", "1000000", kind=PayerKind.BOT, unit=unit, period=Period.DAY)
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()
    children = []
    for number in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            try:
                _spend_at_random(number)
            finally:
                os._exit(1)
        children.append(pid)
    time.sleep(10 if SLOW else 1.2)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)
    Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expiring.return_all_expired()
    assert ModelCall.objects.count() > PROCESSES
    assert [one.difference for one in reconciling.compare_all()] == [0] * 6
    assert not BudgetCounter.objects.exclude(reserved=0).exists()
    tokens = BudgetCounter.objects.get(payer_id="staff", unit=Unit.TOKENS).used
    of_staff = ModelCall.objects.filter(user_label="staff").values_list("input_tokens", flat=True)
    assert tokens == sum(of_staff)


def _spend_at_random(seed: int) -> None:
    """Spends until it is killed. Some closes fail and are done again, as a turn's."""
    chance = random.Random(seed)
    payers.forget()
    while True:
        of = chance.sample([ALICE, STAFF, BOT], chance.randint(1, 3))
        label = "staff" if STAFF in of else ""
        reservation = again(lambda of=of: reserve(of, chance.randint(1, 50), chance.choice(PRICES)))  # type: ignore[misc]
        tokens, price = chance.randint(0, 80), chance.choice(PRICES)
        if chance.random() < 0.2:
            try:
                with transaction.atomic():
                    spend(of, reservation, tokens, price, user_label=label)
                    raise BudgetExceeded
            except (BudgetExceeded, OperationalError):
                pass
        again(lambda: spend(of, reservation, tokens, price, user_label=label))  # noqa: B023  called at once

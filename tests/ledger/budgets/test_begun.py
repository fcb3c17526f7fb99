"""A call that has its row when it begins is counted with it, so budgets agree also where its process is killed."""

import pytest
from django.db import transaction

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity.models import User
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.budgets import payers, reconciling, settling
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Unit
from tests.ledger.budgets.spending import budget, call, reserve

pytestmark = [pytest.mark.both, pytest.mark.django_db]

ALICE = (PayerKind.USER, "alice")


def agrees() -> bool:
    return [compared.difference for compared in reconciling.compare_all()] == [0, 0]


@pytest.fixture(autouse=True)
def _budgets() -> None:
    User.objects.create(pk="alice", username="alice")
    for unit in Unit:
        budget("alice", "1000", unit=unit)


@pytest.mark.parametrize(("tokens", "usd"), [(3, "0.01"), (30, "0.3"), (0, "0")])
def test_budgets_agree_when_it_has_begun_and_when_it_has_ended(tokens: int, usd: str) -> None:
    reservation = reserve([ALICE], 50, "1")
    begun = recording.begin(call([ALICE], 10, "0.1", fault=recording.PROCESS_LOST))
    assert agrees()
    assert BudgetCounter.objects.get(unit=Unit.TOKENS).used == 10, "which is paid if the process is killed now"
    row = call([ALICE], tokens, usd)
    recording.ended(row, begun)
    with transaction.atomic():
        with Batch() as batch:
            recording.insert(batch, [row])
            deleted = settling.delete(batch, reservation)
        settling.settle([row], reservation, deleted)
    assert agrees()
    counter = BudgetCounter.objects.get(unit=Unit.TOKENS)
    assert (counter.used, counter.reserved) == (tokens, 0)


def test_a_repair_while_it_runs_counts_nothing_twice() -> None:
    begun = recording.begin(call([ALICE], 10, "0.1"))
    list(reconciling.compare_all(repairs=True))
    row = call([ALICE], 4, "0.04")
    recording.ended(row, begun)
    recording.insert_late([row])
    assert agrees()


def test_a_process_that_did_not_know_of_the_budget_yet_can_end_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job of the new budget asks the ledger afterwards."""
    begun_row = call([ALICE], 10, "0.1")
    with monkeypatch.context() as patched:
        patched.setattr(payers, "with_budgets", lambda of: [])
        begun = recording.begin(begun_row)
    row = call([ALICE], 0, "0")
    recording.ended(row, begun)
    recording.insert_late([row])
    assert agrees()

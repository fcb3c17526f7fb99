"""Budgets from the command line: set, listed, compared with the ledger, and recorded."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, PayerKind
from bedrock_chat.ledger.models import ModelCall
from tests.ledger.budgets.spending import reserve, spend

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ALICE = (PayerKind.USER, "alice")


def lines_of(*arguments: str) -> list[str]:
    output = StringIO()
    call_command(*arguments, stdout=output)
    return output.getvalue().splitlines()


def document_of(*arguments: str) -> Any:
    return json.loads("\n".join(lines_of(*arguments, "--json")))


def test_a_budget_is_set_once_changed_listed_and_removed() -> None:
    document = document_of("set_budget", "user", "alice", "--usd", "12.5", "--per", "month")
    assert (document["limit"], document["hard"], document["period"]) == ("12.5000000000", True, "month")
    lines_of("set_budget", "user", "alice", "--usd", "12.50", "--per", "month")
    lines_of("set_budget", "user", "alice", "--usd", "20", "--per", "month")
    lines_of("set_budget", "group", "Ärzte und mehr", "--tokens", "1000", "--per", "day", "--soft")
    assert lines_of("budgets") == [
        "group Ärzte und mehr: 1,000 tokens a day, soft; 0 tokens used",
        "user alice: 20.00 USD a month, hard; 0.00 USD used",
    ]
    assert [entry["id"] for entry in document_of("budgets", "--payer", "user", "--id", "alice")] == ["alice"]
    assert lines_of("set_budget", "user", "alice", "--remove", "usd", "--per", "month") == [
        "Removed: hard budget of user alice, in USD a month."
    ]
    assert Budget.objects.count() == 1


def test_each_change_is_in_the_audit_with_its_limits_and_no_more() -> None:
    lines_of("set_budget", "user", "alice", "--usd", "5", "--per", "week")
    lines_of("set_budget", "user", "alice", "--usd", "5", "--per", "week")
    lines_of("set_budget", "user", "alice", "--usd", "6", "--per", "week")
    lines_of("set_budget", "user", "alice", "--remove", "usd", "--per", "week")
    of = {"unit": "usd", "period": "week", "hard": True}
    assert list(AuditEntry.objects.order_by("pk").values_list("verb", "target_id", "values")) == [
        ("set", "user:alice", {**of, "limit": {"before": None, "after": 5.0}}),
        ("set", "user:alice", {**of, "limit": {"before": 5.0, "after": 6.0}}),
        ("remove", "user:alice", {**of, "limit": 6.0}),
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("user", "alice", "--usd", "x", "--per", "day"), 2, "--usd: a number from 0 to 100,000,000, not 'x'"),
        (("user", "alice", "--tokens", "1.5", "--per", "day"), 2, "--tokens: a whole number, not '1.5'"),
        (("user", "", "--usd", "1", "--per", "day"), 2, "The id has 1 to 256 characters"),
        (("user", "alice", "--remove", "usd", "--per", "day"), 1, "There is no hard budget of user alice"),
        (("king", "alice", "--usd", "1", "--per", "day"), 1, "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence) as refused:
        lines_of("set_budget", *arguments)
    assert refused.value.returncode == code


def test_a_difference_from_the_ledger_ends_with_1_until_it_is_repaired() -> None:
    lines_of("set_budget", "user", "alice", "--tokens", "100", "--per", "month")
    spend([ALICE], reserve([ALICE]), 10)
    assert lines_of("reconcile_ledger") == ["1 counters were compared with the ledger; 0 differ."]
    ModelCall.objects.update(input_tokens=12)
    label = BudgetCounter.objects.get().label
    output = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile_ledger", stdout=output)
    assert ended.value.code == 1
    assert output.getvalue().splitlines()[0] == f"user alice, {label}: the ledger has 2 tokens more than was counted"
    assert lines_of("budgets") == [
        "user alice: 100 tokens a month, hard; 10 tokens used, the ledger differs by 2 tokens"
    ]
    assert document_of("reconcile_ledger", "--repair")["differing"][0]["ledgerHasMore"] == "2"
    assert document_of("reconcile_ledger") == {"compared": 1, "differing": [], "repaired": False}

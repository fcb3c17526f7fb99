"""A person's budgets leave with them, and are part of what they get of their data. Operators look them up."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from bedrock_chat.identity import local
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, PayerKind, Unit
from tests.console.operators import make_operator
from tests.ledger.budgets.spending import budget, reserve, spend

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


@pytest.fixture
def alice() -> str:
    return str(local.local_user("alice").pk)


def test_an_export_has_what_a_person_may_spend_and_what_they_used(alice: str, tmp_path: Path) -> None:
    budget(alice, "2.5", unit=Unit.USD)
    budget("staff", "7", kind=PayerKind.GROUP)
    of = [(PayerKind.USER, alice), (PayerKind.GROUP, "staff")]
    spend(of, reserve(of), 1, "0.25")
    call_command("export_user", alice, "--to", str(tmp_path / "export"))
    [line] = (tmp_path / "export" / "budgets.jsonl").read_text().splitlines()
    label = BudgetCounter.objects.get(payer_id=alice).label
    amounts = {"limit": "2.5000000000", "used": "0.2500000000"}
    assert json.loads(line) == {"period": label, "unit": "usd", "hard": True, **amounts}


def test_an_erasure_takes_a_persons_budgets_and_leaves_what_they_used_of_others(alice: str) -> None:
    budget(alice, "100")
    budget("staff", "100", kind=PayerKind.GROUP)
    of = [(PayerKind.USER, alice), (PayerKind.GROUP, "staff")]
    spend(of, reserve(of), 10)
    open_call = reserve(of, 10)
    call_command("erase_user", alice, "--yes")
    assert [row.payer_id for row in Budget.objects.all()] == ["staff"]
    spend(of, open_call, 5)  # a turn that was under way
    assert (BudgetCounter.objects.get().used, BudgetCounter.objects.get().reserved) == (15, 0)


def test_operators_look_budgets_up_and_change_nothing(client: Client, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    row = budget("staff", "100", kind=PayerKind.GROUP)
    spend([(PayerKind.GROUP, "staff")], reserve([(PayerKind.GROUP, "staff")]), 12)
    client.force_login(make_operator("olga", "view_budget", "view_budgetcounter"))
    for path in ("", "?payer_kind__exact=group", "?q=staff", f"{row.pk}/change/"):
        page = client.get(f"/console/bedrock_chat/budget/{path}")
        assert page.status_code == 200, path
        assert "100 tokens" in page.content.decode(), path
    assert "12 tokens" in page.content.decode()
    assert client.get("/console/bedrock_chat/budget/add/").status_code == 403
    assert client.post(f"/console/bedrock_chat/budget/{row.pk}/delete/").status_code == 403

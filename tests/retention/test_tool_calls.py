"""Calls of tools are kept as long as calls to models."""

from datetime import timedelta

import pytest
from django.utils import timezone

from bedrock_chat.ledger import tool_call_retention
from bedrock_chat.ledger.models import ToolCall
from bedrock_chat.retention import pruning
from bedrock_chat.retention.models import Hold, HoldKind
from bedrock_chat.retention.policies import Plan
from tests.retention.keeping import OPERATOR

pytestmark = [pytest.mark.both, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the pauses between SQLite's transactions, and its log, which the test's own transaction is in."""
    monkeypatch.setattr("bedrock_chat.database.connections.time.sleep", lambda seconds: None)
    monkeypatch.setattr(pruning, "truncate_log", lambda: None)


def tool_call(tool: str, days: int, *, user_id: str = "alice", bot_id: str = "b1") -> ToolCall:
    at = timezone.now() - timedelta(days=days)
    caller = {"user_id": user_id, "payer_id": user_id, "bot_id": bot_id}
    return ToolCall.objects.create(created_at=at, turn_id="t", tool=tool, outcome="success", **caller)


def plan(days: int | None) -> Plan:
    return Plan(timezone.now(), None, {}, ledger_days=days)


def prune(days: int | None) -> list[str]:
    """Prunes as a dry run has said, in batches of two. Returns the tools whose calls are left."""
    expected = pruning.count(plan(days))[tool_call_retention.PART]
    gone = sum(counts.get(tool_call_retention.PART, 0) for counts in pruning.prune(plan(days), actor=OPERATOR))
    assert gone == expected
    return sorted(ToolCall.objects.values_list("tool", flat=True))


def test_old_ones_go_and_those_on_hold_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_call_retention, "ROWS_AT_A_TIME", 2)
    tool_call("old", 90)
    tool_call("bob's", 80, user_id="bob")
    tool_call("of a bot on hold", 70, bot_id="b2")
    tool_call("old too", 60)
    tool_call("young", 10)
    for kind, target in ((HoldKind.PERSON, "bob"), (HoldKind.BOT, "b2")):
        Hold.objects.create(kind=kind, target_id=target, reason="claim 4711", placed_at=timezone.now())
    assert prune(None) == ["bob's", "of a bot on hold", "old", "old too", "young"]
    assert prune(40) == ["bob's", "of a bot on hold", "young"]
    Hold.objects.all().delete()
    assert prune(40) == ["young"]

"""Conversations of some age, and what pruning says and does."""

from collections import Counter
from datetime import timedelta
from typing import Any

from django.utils import timezone

from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.retention import policies, pruning
from bedrock_chat.retention.policies import Plan
from conversations.models import Conversation
from tests import build

OPERATOR = Program.command("prune")


def person(name: str) -> User:
    return User.objects.get_or_create(pk=name, defaults={"username": name})[0]


def conversation(user: User, external_id: str, days: float, *, exchanges: int = 1, **columns: Any) -> Conversation:
    """One that has last changed some days ago."""
    at = timezone.now() - timedelta(days=days)
    row = build.conversation(user, external_id, created_at=at, updated_at=at, **columns)
    for number in range(exchanges):
        build.exchange(row, f"message {number}")
    return row


def prune(plan: Plan) -> dict[str, int]:
    """Prunes, after a dry run that has said what goes."""
    expected = pruning.count(plan)
    counts: Counter[str] = Counter()
    for some in pruning.prune(plan, actor=OPERATOR):
        counts.update(some)
    assert +counts == +expected
    return dict(+counts)


def prune_older_than(days: int, bot_id: str | None = None) -> dict[str, int]:
    return prune(policies.once(days, bot_id=bot_id))


def left() -> list[str]:
    return sorted(Conversation.objects.values_list("external_id", flat=True))

"""The condition of alerts about bots: the last sync of their knowledge or guardrail has failed."""

from collections.abc import Iterator
from typing import Final

from django.db.models import Q
from django.urls import reverse

from bedrock_chat.alerts.conditions import MOST, Problem
from bedrock_chat.alerts.models import Severity
from bots.models import Bot, SyncStatus

CONDITION: Final = "failed syncs"


def problems() -> Iterator[Problem]:
    """One problem for each bot whose sync has failed."""
    failed = Q(sync_status=SyncStatus.FAILED) | Q(knowledge__sync_status=SyncStatus.FAILED)
    for bot_id in Bot.objects.filter(failed).order_by("pk").values_list("pk", flat=True)[:MOST]:
        yield Problem(
            subject=bot_id,
            severity=Severity.WARNING,
            sentence=f"The knowledge or the guardrail of bot {bot_id} could not be brought up to date.",
            remedy="Its page tells the reason. Mend it, and save the bot again.",
            link=reverse("admin:bots_bot_change", args=(bot_id,)),
            facts={"bot": bot_id},
        )

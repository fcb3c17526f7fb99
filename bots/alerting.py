"""The condition of alerts about bots: the last sync of their knowledge or guardrail has failed, and not by its owner.

A person's own mistakes, such as an address that is answered 404, are told to who may edit the bot alone.
"""

from collections.abc import Iterator
from typing import Final

from django.urls import reverse

from bedrock_chat.alerts.conditions import MOST, Problem
from bedrock_chat.alerts.models import Severity
from bots.knowledge.models import Knowledge
from bots.knowledge.states import Blame
from bots.models import Bot, SyncStatus

CONDITION: Final = "failed syncs"


def problems() -> Iterator[Problem]:
    """One problem for each bot whose sync has failed: two queries, over the rows of failed syncs alone."""
    guardrails = Bot.objects.filter(sync_status=SyncStatus.FAILED).order_by("pk").values_list("pk", flat=True)[:MOST]
    failed = Knowledge.objects.filter(sync_status=SyncStatus.FAILED, blame=Blame.OPERATOR)
    of_operators = failed.filter(bot__isnull=False).order_by("pk")
    subjects = dict.fromkeys(guardrails, "guardrail")
    for bot_id in of_operators.values_list("bot", flat=True)[:MOST]:
        subjects.setdefault(bot_id, "knowledge")
    for bot_id, part in subjects.items():
        yield Problem(
            subject=bot_id,
            severity=Severity.WARNING,
            sentence=f"The {part} of bot {bot_id} could not be brought up to date.",
            remedy="Its page tells the reason. Mend it, and save the bot again, or have its knowledge synced.",
            link=reverse("admin:bots_bot_change", args=(bot_id,)),
            facts={"bot": bot_id},
        )

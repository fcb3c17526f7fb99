"""The condition of alerts about bots: the last sync of their knowledge or guardrail has failed, and not by its owner.

A person's own mistakes, such as an address that is answered 404, are told to who may edit the bot alone. A sync under
way proves nothing yet, so what is open stays open until it has ended.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from django.urls import reverse

from bedrock_chat.alerts.conditions import MOST, Problem
from bedrock_chat.alerts.models import OpenAlert, Severity
from bots.knowledge.models import Knowledge
from bots.knowledge.states import Blame
from bots.models import Bot, SyncStatus

CONDITION: Final = "failed syncs"
UNDER_WAY: Final = (SyncStatus.QUEUED, SyncStatus.RUNNING)


def problems() -> Iterator[Problem]:
    """One problem for each bot whose sync has failed: three queries, over the rows of failed syncs and open alerts."""
    guardrails = Bot.objects.filter(sync_status=SyncStatus.FAILED).order_by("pk").values_list("pk", flat=True)[:MOST]
    failed = Knowledge.objects.filter(sync_status=SyncStatus.FAILED, blame=Blame.OPERATOR)
    of_operators = failed.filter(bot__isnull=False).order_by("pk")
    subjects = dict.fromkeys(guardrails, "guardrail")
    for bot_id in of_operators.values_list("bot", flat=True)[:MOST]:
        subjects.setdefault(bot_id, "knowledge")
    for bot_id, part in _being_tried_again().items():
        subjects.setdefault(bot_id, part)
    for bot_id, part in subjects.items():
        yield Problem(
            subject=bot_id,
            severity=Severity.WARNING,
            sentence=_sentence(part, bot_id),
            remedy="Its page tells the reason. Mend it, and save the bot again, or have its knowledge synced.",
            link=reverse("admin:bots_bot_change", args=(bot_id,)),
            facts={"bot": bot_id},
        )


def _sentence(part: str, bot_id: str) -> str:
    return f"The {part} of bot {bot_id} could not be brought up to date."


def _being_tried_again() -> Mapping[str, str]:
    """Bots with an open alert about a part that is being synced: what is away for hours is tried again every other
    hour, and each try would close the alert and open another one.
    """
    rows = OpenAlert.objects.filter(condition=CONDITION).order_by("pk").values_list("facts", "sentence")
    alerts = {facts["bot"]: sentence for facts, sentence in rows}
    if not alerts:
        return {}
    known = Knowledge.objects.filter(bot__in=alerts, sync_status__in=UNDER_WAY).values_list("bot", flat=True)
    guarded = Bot.objects.filter(pk__in=alerts, sync_status__in=UNDER_WAY).values_list("pk", flat=True)
    parts = [*((bot_id, "knowledge") for bot_id in known), *((bot_id, "guardrail") for bot_id in guarded)]
    return {bot_id: part for bot_id, part in parts if alerts[bot_id] == _sentence(part, bot_id)}

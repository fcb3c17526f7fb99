"""How far a bot's knowledge and guardrail are: set when the bot is saved, and brought on by a job."""

from collections.abc import Iterable

from django.db import transaction

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed
from bots.configuration import Configuration, has_guardrail, has_knowledge
from bots.models import Bot, SyncStatus

KIND = "sync bot"
SYNCED = frozenset({"knowledge", "bedrock_knowledge_base", "bedrock_guardrails"})
NOT_INGESTED = "Not ingested yet."
NOT_MADE = "Its guardrail is not made yet."


def begin(bot: Bot, changed: Iterable[str]) -> None:
    """Before a bot's row is stored: sets its status, and asks for the job, if a change concerns what is synced."""
    if SYNCED.isdisjoint(changed):
        return
    bot.sync_status_reason = ""
    if has_knowledge(bot.configuration) or has_guardrail(bot.configuration):
        bot.sync_status = SyncStatus.QUEUED
        queue.enqueue(KIND, {"bot": bot.pk})
    else:
        bot.sync_status = SyncStatus.SUCCEEDED


def sync(job: Claimed) -> None:
    """The job. It looks at the bot as it is by now: later edits that concern nothing of this ask for no job of theirs.

    It does nothing for a bot that is gone.
    """
    with transaction.atomic():
        bot = Bot.objects.select_for_update().filter(pk=job.payload["bot"]).first()
        if bot is not None:
            bot.sync_status, bot.sync_status_reason = _reached(bot.configuration)
            bot.save(update_fields=["sync_status", "sync_status_reason"])
        job.finish()


def _reached(configuration: Configuration) -> tuple[SyncStatus, str]:
    """A knowledge base that exists already, and a guardrail that has an ARN, need nothing more."""
    guardrails = configuration["bedrock_guardrails"]
    if has_guardrail(configuration) and guardrails is not None and not guardrails["guardrail_arn"]:
        return SyncStatus.QUEUED, NOT_MADE
    if any(configuration["knowledge"].values()):
        return SyncStatus.QUEUED, NOT_INGESTED
    return SyncStatus.SUCCEEDED, ""

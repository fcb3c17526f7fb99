"""How far a bot's guardrail is: set when the bot is saved, and brought on by a job. What the bot knows from
documents has a job of its own (`bots/knowledge/syncing.py`), for which a save asks here too.

Of each bot there is at most one such job at a time. It looks at the bot as it is now, takes one step, and comes again
if there are more: nothing waits for Bedrock, and a job that is lost in the middle is taken up by the next.
"""

from collections.abc import Iterable

from django.db import transaction

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed
from bots import guardrails
from bots.configuration import existing_knowledge_base, has_guardrail
from bots.guardrails import Step
from bots.knowledge import deleting, revisions
from bots.models import Bot, BotGuardrail, SyncStatus

KIND = "sync bot"
SYNCED = frozenset({"knowledge", "files", "bedrock_knowledge_base", "bedrock_guardrails"})
KNOWN = SYNCED - {"bedrock_guardrails"}
"""What concerns what a bot knows."""


def begin(bot: Bot, changed: Iterable[str]) -> None:
    """Before a bot's row is stored: sets its status, and asks for the jobs, if a change concerns what is synced."""
    fields = set(changed)
    if bot._state.adding:
        revisions.read_with(bot, None)
    if SYNCED.isdisjoint(fields):
        return
    if not KNOWN.isdisjoint(fields):
        revisions.want(bot)
    bot.sync_status_reason = ""
    if existing_knowledge_base(bot.configuration) is not None or has_guardrail(bot.configuration):
        bot.sync_status = SyncStatus.QUEUED
        ask(bot.pk)
    else:
        bot.sync_status = SyncStatus.SUCCEEDED
        end(bot)


def forget(bot: Bot) -> None:
    """In the transaction that deletes a bot, before its row goes: asks for the jobs that remove what it had."""
    deleting.forget(bot.pk)
    end(bot)


def end(bot: Bot) -> None:
    """Asks for the job that deletes a bot's guardrail, if it has one: the bot is being deleted, or wants none."""
    if BotGuardrail.objects.filter(pk=bot.pk).exists():
        ask(bot.pk)


def ask(bot_id: str) -> None:
    """Has the job begin now, in the transaction that makes it necessary."""
    queue.enqueue_now(KIND, {"bot": bot_id}, key=_key(bot_id))


def sync(job: Claimed) -> None:
    """The job.

    1. The bot is read as it is now; it may be gone.
    2. Its guardrail is taken one step further, outside of any transaction.
    3. One transaction, fenced by the job, writes what has come of it. If the bot was changed meanwhile, or deleted, the
       status is left to the job's next run, which begins at once.
    """
    bot_id = job.payload["bot"]
    bot = Bot.objects.filter(pk=bot_id).first()
    step = guardrails.next_step(bot_id, bot, job)
    with transaction.atomic():
        now = Bot.objects.select_for_update().filter(pk=bot_id).first()
        guardrails.write(bot_id, step)
        job.finish()
        if (now and now.version) != (bot and bot.version):
            ask(bot_id)
            return
        if now is not None:
            _write_status(now, step)
        if step.again is not None:
            queue.enqueue(KIND, {"bot": bot_id, **step.payload}, delay=step.again, key=_key(bot_id))


def _write_status(bot: Bot, step: Step) -> None:
    reason = "" if step.status is SyncStatus.SUCCEEDED else step.reason
    status = step.status
    if (bot.sync_status, bot.sync_status_reason) != (status, reason):
        bot.sync_status, bot.sync_status_reason = status, reason
        bot.save(update_fields=["sync_status", "sync_status_reason"])


def _key(bot_id: str) -> str:
    return f"sync bot:{bot_id}"

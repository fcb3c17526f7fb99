"""Every hour the guardrails in Bedrock are compared with the bots: none may be left over, and none be missing."""

import logging
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q

from bedrock_chat.audit.recording import record
from bedrock_chat.bedrock import faults, guardrails
from bedrock_chat.bedrock.guardrails import Entry
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.identity.caller import Program
from bedrock_chat.jobs.queue import Claimed
from bots import syncing, verbs
from bots.configuration import own_filters
from bots.guardrails import BOT_TAG, DEPLOYMENT_TAG, PREFIX, deployment, is_named, lost
from bots.models import Bot, BotGuardrail, SyncStatus

logger = logging.getLogger(__name__)

ORPHAN_SECONDS: Final = 3600.0
"""The age from which a guardrail that no row knows is left over. A younger one may be about to be written down."""


def sweep(job: Claimed) -> None:
    """The job. If Bedrock does not answer, or may not be asked, the next one does it.

    Where no bot has a guardrail of its own, Bedrock is not asked: whatever is asked for has a row before.

    1. The guardrails of this deployment, by their tags, that no bot has are deleted, each with an entry of the audit.
    2. Bots whose guardrail is not in Bedrock any more get another one.
    3. Bots whose guardrail failed, or waits without a job, are tried again; what is not wanted any more, too.
    """
    job.check()
    if BotGuardrail.objects.exists():
        try:
            _renew_missing(_in_bedrock(actor=Program.job(job.kind)))
        except faults.ModelFault as fault:
            logger.warning("guardrails are not swept now: %s", fault.code)
    _try_again()


def _in_bedrock(*, actor: Program) -> set[str]:
    """The ARNs of all guardrails that have the name of one of ours, without those that were left over."""
    release_connection()
    entries = [entry for entry in guardrails.every() if entry.name.startswith(PREFIX)]
    known = set(BotGuardrail.objects.exclude(arn="").values_list("arn", flat=True))
    made_before = database_now() - timedelta(seconds=ORPHAN_SECONDS)
    return {
        entry.arn
        for entry in entries
        if entry.arn in known or entry.created_at > made_before or not _delete_orphan(entry, actor=actor)
    }


def _delete_orphan(entry: Entry, *, actor: Program) -> bool:
    """Deletes a guardrail that no row knows, if it is this deployment's, and records it. Returns whether it did."""
    release_connection()
    tags = guardrails.tags(entry.arn)
    if tags.get(DEPLOYMENT_TAG) != deployment() or not tags.get(BOT_TAG):
        return False
    if is_named(entry.arn) or BotGuardrail.objects.filter(pk=tags[BOT_TAG], is_asked_for=True).exists():
        return False
    release_connection()
    logger.warning("the guardrail %s of bot %s was left over; it is deleted", entry.name, tags[BOT_TAG])
    guardrails.delete(entry.arn)
    with transaction.atomic():
        record(verbs.REMOVE_GUARDRAIL, tags[BOT_TAG], actor=actor, values={"guardrails": [entry.arn]})
    return True


def _renew_missing(there: set[str]) -> None:
    """Bots whose guardrail is gone have another one made. Bedrock is asked once more: its list may be late."""
    for row in BotGuardrail.objects.exclude(arn="").iterator():
        if row.arn in there:
            continue
        release_connection()
        if guardrails.get(row.arn) is not None:
            continue
        with transaction.atomic():
            locked = BotGuardrail.objects.select_for_update().filter(pk=row.pk, arn=row.arn).first()
            if locked is not None:
                logger.warning("the guardrail of bot %s is gone; another one is made", row.pk)
                BotGuardrail.objects.filter(pk=row.pk).update(**lost(locked))
                syncing.ask(row.pk)


def _try_again() -> None:
    """Asks for the job of every bot that is not where it should be."""
    waiting = Bot.objects.filter(sync_status__in=[SyncStatus.QUEUED, SyncStatus.FAILED])
    unfinished = {bot.pk for bot in waiting.only("configuration") if own_filters(bot.configuration) is not None}
    unsettled = Q(unused_since__isnull=False) | Q(is_asked_for=True)
    unused = set(BotGuardrail.objects.filter(unsettled).values_list("pk", flat=True))
    gone = set(BotGuardrail.objects.exclude(bot__in=Bot.objects.all()).values_list("pk", flat=True))
    for bot_id in sorted(unfinished | unused | gone):
        with transaction.atomic():
            syncing.ask(bot_id)

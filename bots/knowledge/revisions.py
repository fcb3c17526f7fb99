"""What a bot is to know is wanted in a revision: who saves raises it, and a sync works until it is done.

A save first raises the revision, which locks the bot's `Knowledge`, and then asks for the job. A job that runs is not
asked for a second time. So whoever ends the job locks the same row first, and asks again if it was raised meanwhile.
"""

from typing import Final

from django.db.models import F, Q

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bots.knowledge import deleting
from bots.knowledge.configuration import KnowledgeSettings, settings_of
from bots.knowledge.models import Knowledge
from bots.knowledge.states import Blame
from bots.models import Bot, SyncStatus

KIND: Final = "sync knowledge"
CANCELLED: Final = "Cancelled."


def want(bot: Bot) -> None:
    """In the transaction that stores a bot: asks for a sync, if there is anything that a sync would look at and that
    has changed. What is not named any more cannot be found from the moment this commits.
    """
    settings = settings_of(bot.configuration)
    fingerprint = settings.fingerprint
    knowledge = None
    if not bot._state.adding:
        knowledge = Knowledge.objects.select_for_update().filter(bot_id=bot.pk).first()
    if knowledge is None:
        if settings.sources:
            knowledge = Knowledge(bot_id=bot.pk, fingerprint=fingerprint, asked_at=database_now())
            knowledge.save(force_insert=True)
            ask(knowledge.pk)
    elif knowledge.fingerprint != fingerprint:
        _want_otherwise(knowledge, settings)
    read_with(bot, knowledge)


def _want_otherwise(knowledge: Knowledge, settings: KnowledgeSettings) -> None:
    """What a locked knowledge had to have is not what its bot names now."""
    deleting.hide_unnamed(knowledge.pk, settings.sources)
    raise_revision(knowledge.pk, fingerprint=settings.fingerprint)
    knowledge.sync_status, knowledge.sync_status_reason, knowledge.blame = SyncStatus.QUEUED, "", ""
    knowledge.asked_at = database_now()
    if settings.sources:
        ask(knowledge.pk)
        return
    knowledge.sync_status = SyncStatus.SUCCEEDED
    Knowledge.objects.filter(pk=knowledge.pk).update(
        done=F("wanted"), planned=F("wanted"), sync_status=SyncStatus.SUCCEEDED, blame="", retry_at=None
    )
    deleting.ask(knowledge.pk)


def read_with(bot: Bot, knowledge: Knowledge | None) -> None:
    """Whoever shows this bot need not read its knowledge: it has this one, or none."""
    Bot._meta.get_field("knowledge").set_cached_value(bot, knowledge)


def request(bot_id: str, *, full: bool = False) -> None:
    """Asks for a sync that nobody's edit made necessary. While one runs, that one is the answer; with `full`, another
    one follows, which fetches and reads everything anew.
    """
    knowledge = Knowledge.objects.select_for_update().filter(bot_id=bot_id).first()
    if knowledge is None:
        return
    if knowledge.wanted > knowledge.done and not full and knowledge.sync_status != SyncStatus.FAILED:
        return
    raise_revision(knowledge.pk)
    if full:
        Knowledge.objects.filter(pk=knowledge.pk).update(full=True)
    ask(knowledge.pk)


def cancel(bot_id: str) -> bool:
    """Ends a sync, also one that a limit has ended and that would begin again by itself, and keeps what it has read.
    Returns whether there was one.

    A slice that runs gives way: what it has paid for by then is written, and its job ends with it. What an edit has
    taken out of reach is removed now: the sync, which would have asked for that at its end, has none.
    """
    has_sync = Q(wanted__gt=F("done")) | Q(retry_at__isnull=False)
    knowledge = Knowledge.objects.select_for_update().filter(has_sync, bot_id=bot_id).first()
    if knowledge is None:
        return False
    Knowledge.objects.filter(pk=knowledge.pk).update(
        done=F("wanted"),
        planned=F("wanted"),
        full=False,
        sync_status=SyncStatus.FAILED,
        sync_status_reason=CANCELLED,
        blame=Blame.OWNER,
        retry_at=None,
    )
    Job.objects.filter(key=key_of(knowledge.pk)).exclude(state=State.RUNNING).delete()
    deleting.ask(knowledge.pk)
    return True


def raise_revision(pk: int, *, fingerprint: str | None = None) -> None:
    """Wants one more revision, and shows that. Locks the row until the transaction ends."""
    columns = {} if fingerprint is None else {"fingerprint": fingerprint}
    Knowledge.objects.filter(pk=pk).update(
        wanted=F("wanted") + 1,
        asked_at=database_now(),
        retry_at=None,
        refused_since=None,
        away_since=None,
        sync_status=SyncStatus.QUEUED,
        sync_status_reason="",
        blame="",
        **columns,
    )


def ask(pk: int) -> None:
    """Has the job begin now, in the transaction that makes it necessary. A dead one begins anew."""
    queue.enqueue_now(KIND, {"knowledge": pk}, key=key_of(pk))


def key_of(pk: int) -> str:
    return f"{KIND}:{pk}"

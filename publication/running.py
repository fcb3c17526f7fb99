"""The job of a published turn: it runs a question that was accepted, and finishes in the transaction of its answer.

Of a conversation's turns that are not done, only the first has a job. Whatever ends it asks for the next one, in the
same transaction. Who accepts or ends a turn holds the conversation's lock (`lock`), so that none is forgotten.
"""

from collections.abc import Callable

from django.db import connection, transaction
from django.db.models import CharField, Exists, F, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat

from bedrock_chat.bedrock import catalog
from bedrock_chat.blobs import storing
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import NOW
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.identity.caller import Caller, Published
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.wire.errors import ApiError, Conflict, TooManyRequests
from conversations.content.blocks import Content, blob_shas
from conversations.models import Message
from conversations.turn import lifecycle
from conversations.turn.types import ChatInput
from publication.models import IdempotencyKey, Publication, PublicationOwner, TurnRequest

KIND = "published turn"
BLOB_OWNER = "published turn"
"""The kind of owner that refers to the files of a question until its turn is done."""

TURN_PAUSE = 1.0
"""Seconds before a turn looks again whether this process has room for it, where it was not told when."""
OWNER_PAUSE = 60.0
"""Seconds before a turn looks again whether its owner is still suspended."""
WITHDRAWN = "This API was withdrawn."
CANCELLED = "An operator cancelled this turn."
GIVEN_UP = "This turn was given up after several attempts."
MOST_LOST = 100
RETRIED = frozenset({502, 503, 504, 429})
"""Statuses of faults that another attempt may not meet."""


def job_key(turn_request_pk: int | str) -> str:
    """The key of a turn's job: there is one at a time."""
    return f"{KIND}:{turn_request_pk}"


def lock(publication_id: str, conversation_id: str) -> None:
    """Locks the order of a conversation's turns until the transaction ends. SQLite has one writer as it is."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            name = f"{publication_id}/{conversation_id}"
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def enqueue(turn: TurnRequest, *, is_new_conversation: bool) -> None:
    """Asks for the turn, in the transaction that accepts it, unless one before it in its conversation is not done."""
    if is_new_conversation or not _of_conversation(turn).filter(pk__lt=turn.pk).exists():
        _add_job(turn.pk)


def run(job: Claimed) -> None:
    """The job.

    1. A turn that is done, or whose API was withdrawn, is not run. Where its owner was erased, nothing of it is left.
    2. It waits while the bot's owner is suspended.
    3. The model is asked. The answer, the ledger's rows and the end of this job are one transaction (`_finish`).
    4. A fault that may pass lets the job fail, so that it is tried again; after the last attempt, and at any other
       refusal, the turn has failed, and says why.
    """
    turn = TurnRequest.objects.filter(pk=job.payload["turn"], done_at__isnull=True).first()
    if turn is None:
        with transaction.atomic():
            job.finish()
        return
    publication = Publication.objects.select_related("bot__owner").filter(pk=turn.publication_id).first()
    if publication is None:
        if PublicationOwner.objects.filter(pk=turn.publication_id).exists():
            _finish(job, turn, WITHDRAWN)
        else:
            _remove(job, turn.publication_id)
        return
    if not publication.bot.owner.is_active:
        queue.postpone(job, OWNER_PAUSE)
        return
    try:
        chat = _chat(turn, publication.bot_id)
        lifecycle.drain(lifecycle.run(chat, actor=caller_of(publication, turn), on_close=_finishing(job, turn)))
    except FileNotFoundError:
        _finish(job, turn, "A file of this message is lost.")
        return
    except TooManyRequests as refusal:  # this process runs as many turns as it may
        queue.postpone(job, float(refusal.headers.get("Retry-After", TURN_PAUSE)))
        return
    except Conflict as refusal:
        if "Retry-After" in refusal.headers:  # another worker's lease on this question still runs
            queue.postpone(job, float(refusal.headers["Retry-After"]))
            return
        _finish(job, turn, str(refusal.detail))
        return
    except ApiError as error:
        if error.status_code in RETRIED and job.attempt < queue.MOST_ATTEMPTS:
            raise
        _finish(job, turn, str(error.detail))
        return
    if not job.finished:  # the answer was there already
        _finish(job, turn, "")


def caller_of(publication: Publication, turn: TurnRequest) -> Caller:
    """Who asks: the key, for the bot's owner, who pays."""
    return Caller(
        user_id=None,
        publication_id=publication.pk,
        key_id=turn.key_id,
        published=Published(
            bot_id=publication.bot_id,
            bot_version=publication.bot_version,
            payer_id=publication.bot.owner_id,
            user_label=turn.user_label,
            payer_groups=frozenset(publication.bot.owner.token_groups),
        ),
    )


def stop_all(publication_id: str) -> None:
    """Has the running turns of a publication stopped, as their users would."""
    running = Message.objects.filter(conversation__publication_id=publication_id).running(database_now())
    running.update(stop_attempt=F("attempt"))


def end_lost(_: Claimed) -> None:
    """A periodic job: ends the turns whose job an operator cancelled, or which no worker has survived."""
    for turn in _lost()[:MOST_LOST]:
        with transaction.atomic():
            lock(turn.publication_id, turn.conversation_id)
            if _lost().filter(pk=turn.pk).exists():
                dead = Job.objects.filter(key=job_key(turn.pk), state=State.DEAD).delete()[0]
                _mark_done(turn, GIVEN_UP if dead else CANCELLED)


def _lost() -> "QuerySet[TurnRequest]":
    """Turns that are not done, are the first of their conversation, and have no job that a worker would take."""
    key = Concat(Value(job_key("")), Cast(OuterRef("pk"), CharField()))
    job = Job.objects.filter(key=key).exclude(state=State.DEAD)
    same = {name: OuterRef(name) for name in ("publication_id", "conversation_id")}
    before = TurnRequest.objects.filter(**same, done_at__isnull=True, pk__lt=OuterRef("pk"))
    return TurnRequest.objects.filter(~Exists(job), ~Exists(before), done_at__isnull=True).order_by("pk")


def _of_conversation(turn: TurnRequest) -> "QuerySet[TurnRequest]":
    """The turns of the same conversation that are not done."""
    of_conversation = {"publication_id": turn.publication_id, "conversation_id": turn.conversation_id}
    return TurnRequest.objects.filter(**of_conversation, done_at__isnull=True)


def _add_job(turn_pk: int) -> None:
    queue.enqueue(KIND, {"turn": turn_pk}, key=job_key(turn_pk))


def _chat(turn: TurnRequest, bot_id: str) -> ChatInput:
    """The question as `lifecycle` takes it, with the bytes of its files. Raises FileNotFoundError for a lost file."""
    shas, files = set(blob_shas(turn.content)), storing.StoredFiles()
    files.expect(shas)
    release_connection()
    return ChatInput(
        conversation_external_id=turn.conversation_id,
        model=catalog.find(turn.model),
        content=Content(turn.content, {sha256: files.read(sha256) for sha256 in shas}),
        message_external_id=None if turn.continue_generate else turn.message_id,
        bot_id=bot_id,
        continue_generate=turn.continue_generate,
        enable_reasoning=turn.enable_reasoning,
    )


def _finishing(job: Claimed, turn: TurnRequest) -> Callable[[], None]:
    def on_close() -> None:
        _mark_done(turn, "")
        job.finish()

    return on_close


def _finish(job: Claimed, turn: TurnRequest, reason: str) -> None:
    """The turn is over; an empty reason means that it has its answer."""
    with transaction.atomic():
        _mark_done(turn, reason)
        job.finish()


def _remove(job: Claimed, publication_id: str) -> None:
    """Deletes what came to an API after its owner was erased: requests that had been let in before."""
    with transaction.atomic():
        turns = list(TurnRequest.objects.filter(publication_id=publication_id).values_list("pk", flat=True))
        storing.forget(BLOB_OWNER, turns)
        TurnRequest.objects.filter(pk__in=turns).delete()
        IdempotencyKey.objects.filter(publication_id=publication_id).delete()
        job.finish()


def _mark_done(turn: TurnRequest, reason: str) -> None:
    """Ends a turn, and asks for the next one of its conversation."""
    lock(turn.publication_id, turn.conversation_id)
    compiled_sql.update(TurnRequest, {"pk": turn.pk}, done_at=NOW, reason=reason, content=[])
    storing.forget(BLOB_OWNER, [turn.pk])
    following = _of_conversation(turn).filter(pk__gt=turn.pk).order_by("pk").values_list("pk", flat=True).first()
    if following is not None:
        _add_job(following)

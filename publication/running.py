"""The job of a published turn: it runs a question that was accepted, and finishes in the transaction of its answer.

Of a conversation's turns that are not done, only the first has a job. Whatever ends it asks for the next one, in the
same transaction. Who accepts or ends a turn holds the conversation's lock (`lock`), so that none is forgotten.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from django.db import connection, transaction
from django.db.models import CharField, Exists, OuterRef, QuerySet, Value
from django.db.models.functions import Cast, Concat

from bedrock_chat.bedrock import catalog
from bedrock_chat.blobs import storing
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import NOW
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import Caller, Published
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.ledger.budgets.refusals import BudgetUsedUp
from bedrock_chat.wire.errors import ApiError, Conflict, TooManyRequests
from conversations.content.blocks import Content, blob_shas
from conversations.models import Message, Role
from conversations.streaming import driver
from conversations.streaming.events import Failed
from conversations.streaming.log import Log
from conversations.turn import lifecycle, registry, stopping
from conversations.turn.types import ChatInput, Finished, TurnEvent, TurnOpened
from publication import waiting
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
ANY_WORKER = "any worker"
"""In the place of a turn's host: somebody listens, and the process that was to stream the answer is gone."""
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
    if is_new_conversation or not is_behind_another(turn):
        _add_job(turn.pk, turn.host)


def is_behind_another(turn: TurnRequest) -> bool:
    """Whether a turn waits for an earlier one of its conversation."""
    return _of_conversation(turn).filter(pk__lt=turn.pk).exists()


def without_place(turn_pks: Iterable[int]) -> set[int]:
    """Those of these turns that still wait for an earlier one: they are not done, and have no job."""
    waiting = TurnRequest.objects.filter(~Exists(_job_of_turn()), pk__in=turn_pks, done_at__isnull=True)
    return set(waiting.values_list("pk", flat=True))


def release(turn_pks: Iterable[int]) -> None:
    """Leaves turns that still wait to any worker, who streams the answers. Their own process is gone, or about to end.

    The job of one that is reserved for that process would begin only when its lease has run out.
    """
    TurnRequest.objects.filter(pk__in=turn_pks, done_at__isnull=True).exclude(host="").update(host=ANY_WORKER)


def run(job: Claimed, log: Log | None = None) -> None:
    """The job. What the turn tells goes into `log`, or into one of its own if it is streamed, which `relay` copies.

    1. A turn that is done, or whose API was withdrawn, is not run. Where its owner was erased, nothing of it is left.
    2. It waits while the bot's owner is suspended. If its user has stopped an attempt that was lost, there is no other.
    3. The model is asked. The answer, the ledger's rows and the end of this job are one transaction (`_finish`).
    4. A fault that may pass lets the job fail, so that it is tried again; after the last attempt, and at any other
       refusal, the turn has failed, and says why.

    Where the turn has its answer when this returns, the log has ended with it. In every other case the log is told that
    the turn goes on: those who follow it look what has become of the turn.
    """
    turn = TurnRequest.objects.filter(pk=job.payload["turn"], done_at__isnull=True).first()
    if log is None and turn is not None and turn.host:
        log = Log(goes_on=True)
        if job.attempt > 1:  # its process was lost, most likely, and would be waited for by each turn behind this one
            release(_of_conversation(turn).filter(host=turn.host).values_list("pk", flat=True))
    try:
        _run(job, turn, log)
    finally:
        if log is not None:
            log.append(Failed.leaving())


def _run(job: Claimed, turn: TurnRequest | None, log: Log | None) -> None:
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
    if job.attempt > 1 and _was_stopped(turn, question := question_of(turn)):
        _finish(job, turn, _reason_if_stopped(question))
        return
    actor = caller_of(publication, turn)
    events = Told(log, actor)
    try:
        chat = _chat(turn, publication.bot_id)
        turn_events = lifecycle.run(chat, actor=actor, on_close=_finishing(job, turn), listener=log)
        lifecycle.drain(events.passing(_stopped_unless_wanted(turn, turn_events)))
    except FileNotFoundError:
        _finish(job, turn, "A file of this message is lost.")
        return
    except BudgetUsedUp as refusal:
        _finish(job, turn, refusal.reason)
        return
    except TooManyRequests as refusal:  # as many turns run here as may, or others have reserved what a budget has left
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
    events.end()


class Told:
    """What the listeners of a turn are told: its events at once, its end when it is true."""

    def __init__(self, log: Log | None, actor: Caller) -> None:
        self._log = log
        self._actor = actor
        self._opened: TurnOpened | None = None
        self._finished: Finished | None = None

    def passing(self, events: Iterator[TurnEvent]) -> Iterator[TurnEvent]:
        """Passes events on, and tells them."""
        for event in events:
            if isinstance(event, Finished):
                self._finished = event
            else:
                if isinstance(event, TurnOpened):
                    self._opened = event
                self._tell(event)
            yield event

    def end(self) -> None:
        """The turn has its answer, and no job any more. A turn that was not opened here has told nothing."""
        if self._finished is not None:
            self._tell(self._finished)

    def _tell(self, event: TurnEvent) -> None:
        if self._log is not None and self._opened is not None:
            driver.tell(event, self._opened, self._log, self._actor)


def _stopped_unless_wanted(turn: TurnRequest, events: Iterator[TurnEvent]) -> Iterator[TurnEvent]:
    """Passes the events of a turn on. One that was cancelled or withdrawn before it was opened is stopped at once."""
    for event in events:
        if isinstance(event, TurnOpened) and _is_done(turn.pk):
            registry.stop(event.question_pk, event.attempt)
        yield event


def _is_done(turn_pk: int) -> bool:
    return compiled_sql.select(TurnRequest, ("done_at",), {"pk": turn_pk}) != [(None,)]


def cancel(turn: TurnRequest) -> None:
    """Ends a turn that does not run, as its user wants. A process that has begun it meanwhile keeps nothing of it."""
    with transaction.atomic():
        lock(turn.publication_id, turn.conversation_id)
        if TurnRequest.objects.select_for_update().filter(pk=turn.pk, done_at__isnull=True).exists():
            _mark_done(turn, _reason_if_stopped(question_of(turn)))
            Job.objects.filter(key=job_key(turn.pk)).delete()


def question_of(turn: TurnRequest) -> Message | None:
    """The question of a turn, without its content, if one of its turns was opened."""
    of_conversation = Message.objects.filter(
        conversation__publication_id=turn.publication_id, conversation__external_id=turn.conversation_id
    )
    return of_conversation.filter(external_id=turn.message_id, role=Role.USER).defer("content", "feedback").first()


def _was_stopped(turn: TurnRequest, question: Message | None) -> bool:
    """Whether the turn's user stopped an attempt that was lost: its process died before it could heed them.

    A continuation that has not been opened yet has the question of the turn before it, which was stopped perhaps.
    """
    if question is None or question.stop_attempt != question.attempt:
        return False
    return question.continues is not None if turn.continue_generate else True


def _reason_if_stopped(question: Message | None) -> str:
    """Why a turn that is stopped without a process has failed; nothing, where its question has an answer.

    That is what an attempt that was lost has kept, or the answer that was to be continued.
    """
    has_answer = question is not None and question.children.filter(attempt=question.attempt).exists()
    return "" if has_answer else lifecycle.STOPPED


def caller_of(publication: Publication, turn: TurnRequest) -> Caller:
    """Who asks: the key, for the bot's owner, who pays."""
    return Caller(
        user_id=None,
        publication_id=publication.pk,
        key_id=turn.key_id,
        published=Published(
            bot_id=publication.bot_id,
            bot_version=publication.bot_version,
            tool_rounds=publication.tool_rounds,
            tool_seconds=publication.tool_seconds,
            payer_id=publication.bot.owner_id,
            user_label=turn.user_label,
            payer_groups=frozenset(publication.bot.owner.token_groups),
        ),
    )


def stop_all(publication_id: str) -> None:
    """Has the running turns of a publication stopped, as their users would."""
    stopping.stop_all(Message.objects.filter(conversation__publication_id=publication_id))


def end_lost(_: Claimed) -> None:
    """A periodic job: ends the turns whose job an operator cancelled, or which no worker has survived.

    One that still runs is stopped afterwards: its process asks a model in vain, and whoever listens is to know at once.
    """
    for turn in _lost()[:MOST_LOST]:
        with transaction.atomic():
            lock(turn.publication_id, turn.conversation_id)
            if not _lost().filter(pk=turn.pk).exists():
                continue
            dead = Job.objects.filter(key=job_key(turn.pk), state=State.DEAD).delete()[0]
            _mark_done(turn, GIVEN_UP if dead else CANCELLED)
            question = question_of(turn)
        if question is not None:  # not above: the end of a turn locks its messages before its conversation's order
            stopping.stop_all(Message.objects.filter(pk=question.pk, attempt=question.attempt))


def _lost() -> "QuerySet[TurnRequest]":
    """Turns that are not done, are the first of their conversation, and have no job that a worker would take."""
    job = _job_of_turn().exclude(state=State.DEAD)
    same = {name: OuterRef(name) for name in ("publication_id", "conversation_id")}
    before = TurnRequest.objects.filter(**same, done_at__isnull=True, pk__lt=OuterRef("pk"))
    return TurnRequest.objects.filter(~Exists(job), ~Exists(before), done_at__isnull=True).order_by("pk")


def _job_of_turn() -> "QuerySet[Job]":
    """The job of the turn of an outer query."""
    return Job.objects.filter(key=Concat(Value(job_key("")), Cast(OuterRef("pk"), CharField())))


def _of_conversation(turn: TurnRequest) -> "QuerySet[TurnRequest]":
    """The turns of the same conversation that are not done."""
    of_conversation = {"publication_id": turn.publication_id, "conversation_id": turn.conversation_id}
    return TurnRequest.objects.filter(**of_conversation, done_at__isnull=True)


def _add_job(turn_pk: int, host: str) -> None:
    """Adds the job of a turn. If a process is to stream the answer, the job is claimed for it."""
    claimed_by = "" if host == ANY_WORKER else host
    queue.enqueue(KIND, {"turn": turn_pk}, key=job_key(turn_pk), claimed_by=claimed_by)


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
    """Ends a turn, has those told who wait for it, and asks for the next one of its conversation."""
    lock(turn.publication_id, turn.conversation_id)
    compiled_sql.update(TurnRequest, {"pk": turn.pk}, done_at=NOW, reason=reason, content=[])
    storing.forget(BLOB_OWNER, [turn.pk])
    transaction.on_commit(partial(waiting.tell, turn), robust=True)
    following = _of_conversation(turn).filter(pk__gt=turn.pk).order_by("pk").values_list("pk", "host").first()
    if following is not None:
        _add_job(*following)

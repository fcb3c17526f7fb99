"""The turns that this process runs itself, since somebody listens: under the job's row and lease, as a worker would.

A question that is streamed is accepted with a job that is claimed for this process (`running.enqueue`). Where others of
its conversation come before it, whoever ends the last of those adds the job, claimed for this process too, and a beat
finds it (`begin_due`). If this process dies, the job's lease runs out and a worker takes it; those that wait behind it
are any worker's from then on, and so is what waits in a process that is about to end (`running.release`).
"""

import contextvars
import logging
import threading
from collections.abc import Iterable
from functools import partial

from django.conf import settings
from django.db import Error

from bedrock_chat.database.connections import release_connection
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.claims import Claims
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.metrics import refusals
from bedrock_chat.process import shutdown, thread_pool
from bedrock_chat.wire.errors import ServiceUnavailable
from bedrock_chat.wire.ids import new_id
from conversations.streaming import sse
from conversations.streaming.events import Failed
from conversations.streaming.log import Log
from conversations.turn import admission
from publication import running
from publication.models import TurnRequest

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5

CLAIMS = Claims(new_id())
"""The jobs of this process. As a worker it does no others, so it is not among the workers that are shown."""

_lock = threading.Lock()
_logs: dict[int, Log] = {}
"""Turn → its log, from its acceptance to its end here."""
_waiting: dict[int, contextvars.Context] = {}
"""Those of them that wait for their place in their conversation, each with the context of the request that asked.

What a turn binds is to appear in that request's log line and trace, whoever begins the turn.
"""


def refuse_more() -> None:
    """Raises ServiceUnavailable if this process is shutting down, or has as many streams as it can.

    Turns that wait for their place here are counted, whether or not their clients still listen.
    """
    if shutdown.draining():
        raise ServiceUnavailable("This server is shutting down; try again.", retry_after=1)
    sse.refuse_more()
    if len(_logs) >= settings.THREADS * 2:
        refusals.count("streams")
        raise ServiceUnavailable("As many streams wait here as can; try again.", retry_after=5)


def expect(turn: TurnRequest) -> None:
    """Has this process run a turn that was accepted for it, at once or when its place has come."""
    with _lock:
        _logs[turn.pk] = Log(goes_on=True)
        _waiting[turn.pk] = contextvars.copy_context()
    try:
        _begin_claimed([turn.pk])
    except Error:  # the question is accepted all the same, and the beat looks again
        logger.exception("a streamed turn could not be begun at once")


def log_of(turn_pk: int) -> Log | None:
    """The log of a turn that waits or runs here, or has just ended."""
    return _logs.get(turn_pk)


def waits(turn_pk: int) -> bool:
    """Whether a turn waits here for its place."""
    return turn_pk in _waiting


def begin_due() -> None:
    """Begins the turns whose place has come, and gives up those that this process will not run.

    One query finds those that have a job, or none any more because they were stopped or withdrawn; none is made while
    no turn waits. A turn that this process gives up is followed where it runs. The heartbeat calls this every
    POLL_SECONDS, and a turn that has ended here, for the one behind it.
    """
    with _lock:
        waiting = list(_waiting)
    if not waiting:
        return
    if shutdown.draining():
        running.release(waiting)
        for job in queue.claims_of(CLAIMS.worker, map(running.job_key, waiting)):
            queue.give_back(job)
        _give_up(waiting)
        return
    placed = set(waiting) - running.without_place(waiting)
    if placed:
        _begin_claimed(placed)
        _give_up(placed)


def _begin_claimed(turn_pks: Iterable[int]) -> None:
    """Begins those of these turns whose jobs are claimed for this process, each on a thread."""
    for job in queue.claims_of(CLAIMS.worker, map(running.job_key, turn_pks)):
        turn_pk = int(job.payload["turn"])
        with _lock:
            context = _waiting.pop(turn_pk, None)
        if context is None:
            continue  # another thread has begun it
        CLAIMS.add(job)
        thread_pool.shared().submit(partial(context.run, _run, job, turn_pk))


def _run(job: Claimed, turn_pk: int) -> None:
    """On a thread: does the job, and then begins the next turn of the conversation if it waits here."""
    log = _logs[turn_pk]
    try:
        performing.perform(job, lambda claimed: _answer(claimed, log))
    finally:
        CLAIMS.remove(job)
        _end(turn_pk)
        try:
            begin_due()
        finally:
            release_connection()


def _answer(job: Claimed, log: Log) -> None:
    """Runs a turn, or leaves it to a worker: if this process has no room for it, or is shutting down."""
    if not admission.has_room():
        _leave_to_worker(job)
        return
    try:
        running.run(job, log)
    except ServiceUnavailable:
        if not shutdown.draining():
            raise
        _leave_to_worker(job)


def _leave_to_worker(job: Claimed) -> None:
    queue.give_back(job)
    job.finished = True


def _give_up(turn_pks: Iterable[int]) -> None:
    """Ends the logs of those of these turns that still wait."""
    for turn_pk in turn_pks:
        with _lock:
            if _waiting.pop(turn_pk, None) is None:
                continue
        _end(turn_pk)


def _end(turn_pk: int) -> None:
    """Forgets a log. If the turn has not ended, the log ends with an event that says so."""
    with _lock:
        log = _logs.pop(turn_pk)
    log.append(Failed.leaving())

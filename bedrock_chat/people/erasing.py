"""Erasing a person from the console: asked for by an operator, done by a job, which tells how far it is."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import erasing, users
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.people.models import LONGEST_REFUSAL, Erasure
from bedrock_chat.retention.holds import OnHold
from bedrock_chat.wire.errors import BadRequest, NotFound

KIND: Final = "erase person"
FORGET_KIND: Final = "forget erasures"
ASK_TO_ERASE: Final = verbs.register("ask to erase", target="user")
CALL_OFF: Final = verbs.register("call off erasing", target="user")

EVERY_SECONDS: Final = 1.0
"""So often at most the row tells of new steps."""
MOST_STEPS: Final = 40
LONGEST_STEP: Final = 200
KEPT: Final = timedelta(days=7)


def ask(user_id: str, *, actor: Caller) -> None:
    """Suspends a person at once, and has the job erase them with everything of theirs.

    Asked again, it changes nothing while that job runs, and starts it anew where it waits or is dead. Raises NotFound,
    Conflict with the reason where something of theirs is on hold, and BadRequest for the operator's own account.
    """
    if user_id == actor.user_id:
        raise BadRequest("You cannot erase yourself.")
    with transaction.atomic():
        erasing.refuse_erasing(user_id)
        user = users.locked(user_id)
        if not running(user_id).exists():
            Erasure.objects.filter(pk=user_id).delete()
            Erasure.objects.create(
                pk=user_id, asked_by=actor.user_id or "", asked_at=database_now(), was_active=user.is_active
            )
            User.objects.filter(pk=user_id).update(is_active=False)
        queue.enqueue_now(KIND, {"user": user_id, "operator": actor.user_id}, key=_key(user_id))
        record(ASK_TO_ERASE, user_id, actor=actor)


def call_off(user_id: str, *, actor: Caller) -> None:
    """Ends an erasure before its end, and lets the person in again if they were not suspended before it.

    A worker that runs the job loses it: its last transaction is rolled back. What it has deleted before stays deleted.
    Raises NotFound for somebody who is not being erased, such as who is gone already.
    """
    with transaction.atomic():
        users.locked(user_id)
        erasure = running(user_id).first()
        if erasure is None:
            raise NotFound("This person is not being erased.")
        Job.objects.filter(key=_key(user_id)).delete()
        erasure.delete()
        if erasure.was_active:
            User.objects.filter(pk=user_id).update(is_active=True)
        record(CALL_OFF, user_id, actor=actor)


def running(user_id: str) -> "QuerySet[Erasure]":
    """The row of an erasure that has not ended, if there is one. Lock the user's row first, to rely on it."""
    return Erasure.objects.filter(pk=user_id, finished_at__isnull=True)


def run(job: Claimed) -> None:
    """The job. It ends inside the transaction that deletes the person's row; interrupted, it begins anew.

    A hold that was placed meanwhile ends it, with the reason: the person stays as they are, suspended.

    Raises LeaseLost, and what a part of the erasure raises: then it is tried again.
    """
    user_id, actor = job.payload["user"], Caller(user_id=job.payload["operator"], is_operator=True)
    is_asked_for = running(user_id).update(begun_at=database_now(), steps=[])
    if not is_asked_for or not User.objects.filter(pk=user_id).exists():  # they were erased by another way
        with transaction.atomic():
            _finish(user_id)
            job.finish()
        return
    steps: list[str] = []

    def write_steps() -> None:
        Erasure.objects.filter(pk=user_id).update(steps=steps)

    def finish() -> None:
        record(verbs.ERASE_USER, user_id, actor=actor)
        write_steps()
        job.finish()

    told_at = time.monotonic()
    try:
        # Called off meanwhile, nobody is suspended: `job.check` raises once the user's row is locked.
        for sentence in erasing.erase(user_id, on_begin=job.check, on_finish=finish, actor=actor):
            steps = [*steps, sentence[:LONGEST_STEP]][-MOST_STEPS:]
            if time.monotonic() - told_at >= EVERY_SECONDS or job.finished:
                write_steps()
                told_at = time.monotonic()
            if not job.finished:
                job.check()
    except OnHold as refused:
        with transaction.atomic():
            write_steps()
            _finish(user_id, refusal=str(refused.detail)[:LONGEST_REFUSAL])
            job.finish()


def _finish(user_id: str, *, refusal: str = "") -> None:
    """Ends the erasure, if one was asked for, of a person who is gone or on hold, in the caller's transaction."""
    now = database_now()
    if running(user_id).update(begun_at=Coalesce("begun_at", now), finished_at=now, refusal=refusal):
        queue.enqueue(FORGET_KIND, delay=KEPT.total_seconds() + 1)


def _key(user_id: str) -> str:
    return f"{KIND}:{user_id}"


def forget(job: Claimed) -> None:
    """The job that deletes what is known of erasures that ended a while ago. The audit keeps its entries."""
    with transaction.atomic():
        Erasure.objects.filter(finished_at__lt=database_now() - KEPT).delete()
        job.finish()


def prepare_person(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Does nothing: there are few rows."""
    yield from ()


def finish_person(user_id: str, *, actor: Actor) -> Iterator[str]:
    """By whichever way a person is erased, the erasure that was asked for ends with it. If they were an operator, those
    that they have asked for no longer name them.
    """
    _finish(user_id)
    Erasure.objects.filter(asked_by=user_id).update(asked_by="")
    yield from ()

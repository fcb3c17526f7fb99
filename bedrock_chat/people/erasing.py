"""Erasing a person from the console: asked for by an operator, done by a job, which tells how far it is."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.db import transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.people.models import LONGEST_REFUSAL, Erasure
from bedrock_chat.retention.holds import OnHold
from bedrock_chat.wire.errors import BadRequest, NotFound

KIND: Final = "erase person"
FORGET_KIND: Final = "forget erasures"
ASK_TO_ERASE: Final = verbs.register("ask to erase", target="user")

EVERY_SECONDS: Final = 1.0
"""So often at most the row tells of new steps."""
MOST_STEPS: Final = 40
LONGEST_STEP: Final = 200
KEPT: Final = timedelta(days=7)


def ask(user_id: str, *, actor: Caller) -> None:
    """Suspends a person at once, and has the job erase them with everything of theirs.

    Asked again, it changes nothing while that job waits or runs, and starts it anew where it is dead. Raises NotFound,
    Conflict with the reason where something of theirs is on hold, and BadRequest for the operator's own account.
    """
    if user_id == actor.user_id:
        raise BadRequest("You cannot erase yourself.")
    with transaction.atomic():
        erasing.refuse_erasing(user_id)
        if not User.objects.filter(pk=user_id).update(is_active=False):
            raise NotFound(f"No user found with id: {user_id}")
        anew = {"asked_by": actor.user_id, "asked_at": database_now()}
        anew |= {"begun_at": None, "finished_at": None, "refusal": ""}
        Erasure.objects.update_or_create(pk=user_id, defaults=anew)
        queue.enqueue_now(KIND, {"user": user_id, "operator": actor.user_id}, key=f"{KIND}:{user_id}")
        record(ASK_TO_ERASE, user_id, actor=actor)


def run(job: Claimed) -> None:
    """The job. It ends inside the transaction that deletes the person's row; interrupted, it begins anew.

    A hold that was placed meanwhile ends it, with the reason: the person stays as they are, suspended.

    Raises LeaseLost, and what a part of the erasure raises: then it is tried again.
    """
    user_id, actor = job.payload["user"], Caller(user_id=job.payload["operator"], is_operator=True)
    row = Erasure.objects.filter(pk=user_id)
    row.update(begun_at=database_now(), steps=[])
    steps: list[str] = []

    def finish_row(refusal: str = "") -> None:
        row.update(finished_at=database_now(), steps=steps, refusal=refusal)
        queue.enqueue(FORGET_KIND, delay=KEPT.total_seconds() + 1)

    def finish() -> None:
        record(verbs.ERASE_USER, user_id, actor=actor)
        finish_row()
        job.finish()

    told_at = time.monotonic()
    try:
        for sentence in erasing.erase(user_id, on_finish=finish, actor=actor):
            steps = [*steps, sentence[:LONGEST_STEP]][-MOST_STEPS:]
            if time.monotonic() - told_at >= EVERY_SECONDS or job.finished:
                row.update(steps=steps)
                told_at = time.monotonic()
            if not job.finished:
                job.check()
    except NotFound:  # erased by another way
        with transaction.atomic():
            finish_row()
            job.finish()
    except OnHold as refused:
        with transaction.atomic():
            finish_row(str(refused.detail)[:LONGEST_REFUSAL])
            job.finish()


def forget(job: Claimed) -> None:
    """The job that deletes what is known of erasures that ended a while ago. The audit keeps its entries."""
    with transaction.atomic():
        Erasure.objects.filter(finished_at__lt=database_now() - KEPT).delete()
        job.finish()


def prepare_operator(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Does nothing: there are few rows."""
    yield from ()


def finish_operator(user_id: str, *, actor: Actor) -> Iterator[str]:
    """An operator is erased, too: the erasures that they asked for no longer name them."""
    Erasure.objects.filter(asked_by=user_id).update(asked_by="")
    yield from ()

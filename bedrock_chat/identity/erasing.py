"""Erases a person: everything they said and who they were. What was spent stays, under an id that names nobody.

The kernel knows only the user's row. Each app registers its part in `apps.ready`, so the kernel need not know the app.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from django.db import transaction

from bedrock_chat.database.connections import truncate_log
from bedrock_chat.identity.caller import Actor
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import NotFound


class Step(Protocol):
    """Erases something of a user, and yields a sentence for each thing done. `actor`, for the audit, is who erases."""

    def __call__(self, user_id: str, *, actor: Actor) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """What one app erases of a user.

    `prepare` does the slow work, in as many transactions as it likes. `finish` runs inside the last transaction, with
    the user's row locked. Requests under way may have written something after `prepare`; now they no longer can.
    """

    prepare: Step
    finish: Step


_parts: dict[str, Part] = {}


def register(app: str, *, prepare: Step, finish: Step) -> None:
    """Adds an app's part. Parts run in the order of registration."""
    _parts[app] = Part(prepare, finish)


_refusals: list[Callable[[str], None]] = []


def register_refusal(refuse: Callable[[str], None]) -> None:
    """Adds what may refuse to erase a user: it takes their id, and raises an ApiError that says why."""
    _refusals.append(refuse)


def refuse_erasing(user_id: str) -> None:
    """Raises what refuses to erase a user. Inside a transaction, nothing refuses later in it.

    An app's part calls it first in each transaction that deletes something: a hold that was placed meanwhile stops it.
    """
    for refuse in _refusals:
        refuse(user_id)


def erase(
    user_id: str,
    *,
    on_begin: Callable[[], None] | None = None,
    on_finish: Callable[[], None] | None = None,
    actor: Actor,
) -> Iterator[str]:
    """Erases a user; yields a sentence for each step as it is done.

    Raises NotFound, and Conflict, with the reason, where something of theirs is on hold: before anything is done, or,
    if the hold comes later, before the next transaction that deletes something. `on_begin` runs at the end of the first
    transaction, with the user's row locked, and may raise. `on_finish` runs at the end of the last one: it records who
    erased them.

    1. The user is suspended, so that no new request is let in.
    2. Each app prepares.
    3. One transaction locks the user's row, finishes each app's part, and deletes the row. From here on requests find
       no user: a write with a foreign key to the row waits for the lock and fails, and the ledger looks for the row.
    4. On SQLite the log is emptied, so that no file holds what was deleted.

    Files are removed with the next removal of blobs, when their grace is over. After an interruption, call it again.
    """
    with transaction.atomic():
        refuse_erasing(user_id)
        if not User.objects.filter(pk=user_id).update(is_active=False):
            raise NotFound(f"No user found with id: {user_id}")
        if on_begin:
            on_begin()
    yield "Suspended."
    for part in _parts.values():
        refuse_erasing(user_id)
        yield from part.prepare(user_id, actor=actor)
    with transaction.atomic():
        refuse_erasing(user_id)
        list(User.objects.select_for_update().filter(pk=user_id).values_list("pk"))
        sentences = [sentence for part in _parts.values() for sentence in part.finish(user_id, actor=actor)]
        User.objects.filter(pk=user_id).delete()
        if on_finish:
            on_finish()
    yield from sentences
    truncate_log()
    yield "The user is gone."

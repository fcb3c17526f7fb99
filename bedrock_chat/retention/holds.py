"""Holds: nothing of a held person or bot is pruned, and no operator erases it. People's own deletions go on.

Whoever places a hold, and whoever prunes or erases, take one lock: once a hold is committed, nothing of it goes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.audit.verbs import Verb
from bedrock_chat.database.connections import database_now
from bedrock_chat.database.text import is_storable
from bedrock_chat.identity.caller import Actor
from bedrock_chat.identity.models import User
from bedrock_chat.retention.models import LONGEST_REASON, Hold, HoldKind
from bedrock_chat.wire.errors import BadRequest, Conflict, NotFound

HOLD_PERSON: Final = verbs.register("hold", target="user")
RELEASE_PERSON: Final = verbs.register("release", target="user")


class OnHold(Conflict):
    """Something was to be erased on which there is a hold."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(f"The {hold.kind} {hold.target_id} is on hold: {hold.reason}")


@dataclass(frozen=True, slots=True)
class Holds:
    """All ids that are on hold."""

    people: frozenset[str]
    bots: frozenset[str]

    def keep(self, bot_id: str | None, *people: str | None) -> bool:
        """Whether something stays that belongs to these."""
        return bot_id in self.bots or not self.people.isdisjoint(people)


# ---- Placing and lifting --------------------------------------------------------------------------------------------


def hold_person(user_id: str, *, reason: str, actor: Actor) -> Hold:
    """Puts a person on hold, or changes the reason. Raises NotFound, and BadRequest for a reason that is none."""

    def refuse_unknown() -> None:
        if not list(User.objects.select_for_update(no_key=True).filter(pk=user_id).values_list("pk")):
            raise NotFound(f"No user found with id: {user_id}")

    return place(HoldKind.PERSON, user_id, reason, HOLD_PERSON, refuse_unknown=refuse_unknown, actor=actor)


def release_person(user_id: str, *, actor: Actor) -> None:
    """Ends the hold on a person: the policies apply again. Raises NotFound where there is none."""
    lift(HoldKind.PERSON, user_id, RELEASE_PERSON, actor=actor)


def place(
    kind: HoldKind, target_id: str, reason: str, verb: Verb, *, refuse_unknown: Callable[[], None], actor: Actor
) -> Hold:
    """Places a hold, or changes its reason, and records it. `refuse_unknown` raises where there is no such target."""
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON or not is_storable(reason):
        raise BadRequest(f"A hold has a reason, of up to {LONGEST_REASON} characters.")
    with transaction.atomic():
        lock(exclusive=True)
        refuse_unknown()
        hold = Hold.objects.filter(kind=kind, target_id=target_id).first()
        if hold is not None and hold.reason == reason:
            return hold
        if hold is None:
            hold = Hold(kind=kind, target_id=target_id, placed_at=database_now())
        hold.reason = reason
        hold.save()
        record(verb, target_id, actor=actor, fields=["reason"])
    return hold


def lift(kind: HoldKind, target_id: str, verb: Verb, *, actor: Actor) -> None:
    """Lifts a hold, and records it. Raises NotFound where there is none."""
    with transaction.atomic():
        deleted, _ = Hold.objects.filter(kind=kind, target_id=target_id).delete()
        if not deleted:
            raise NotFound(f"There is no hold on the {kind} {target_id}.")
        record(verb, target_id, actor=actor)


# ---- Looking --------------------------------------------------------------------------------------------------------


def find(kind: HoldKind, target_id: str) -> Hold | None:
    """The hold on a person or a bot, for pages that show it."""
    return Hold.objects.filter(kind=kind, target_id=target_id).first()


def present() -> Holds:
    """The holds of this moment. Inside a transaction, no other is placed until that ends."""
    lock()
    kinds: dict[str, set[str]] = {HoldKind.PERSON: set(), HoldKind.BOT: set()}
    for kind, target_id in Hold.objects.values_list("kind", "target_id"):
        kinds[kind].add(target_id)
    return Holds(people=frozenset(kinds[HoldKind.PERSON]), bots=frozenset(kinds[HoldKind.BOT]))


def refuse(kind: HoldKind, target_id: str) -> None:
    """Raises OnHold. As `present`, it holds until the end of the transaction."""
    lock()
    hold = find(kind, target_id)
    if hold is not None:
        raise OnHold(hold)


def refuse_person(user_id: str) -> None:
    """For whoever erases a person. Raises OnHold."""
    refuse(HoldKind.PERSON, user_id)


LOCK: Final = 0x62636872  # any number that nothing else locks


def lock(*, exclusive: bool = False) -> None:
    """Until the transaction ends, no hold is placed. SQLite has one writer as it is.

    Take it before the locks of rows: whoever places a hold waits for all who have it. `exclusive` is for those who
    change what must not be pruned.
    """
    if connection.vendor == "postgresql" and connection.in_atomic_block:
        with connection.cursor() as cursor:
            mode = "" if exclusive else "_shared"
            cursor.execute(f"SELECT pg_advisory_xact_lock{mode}(%s)", [LOCK])

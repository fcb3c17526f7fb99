"""Keys as whoever runs the server handles them: by their ids, across all publications, with commands.

Each write may be asked for twice and is done once. `Program` acts, so nobody's groups are asked for.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Program
from bedrock_chat.ledger.models import NUMBER_OF_CALLS, ModelCall
from bedrock_chat.wire.errors import ApiError, NotFound
from bots.models import Bot
from publication import access, keys, verbs
from publication.keys import Shown
from publication.models import ApiKey, Publication

MOST_LABELS = 10


class KeyState(StrEnum):
    """Whether a key opens its API now, and if it does, whether it is to go on."""

    ACTIVE = "active"
    REPLACED = "replaced"
    DISABLED = "disabled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class StillUsed:
    """What was called with a key after it was replaced: how many calls to models, and for which labels."""

    calls: int
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Listed:
    """A key, its state, and for one in its overlap who still uses it."""

    key: ApiKey
    state: KeyState
    still_used: StillUsed | None


@dataclass(frozen=True, slots=True)
class Made:
    """A key with its value, and whether it was made just now. `ends_at` is when the key in whose place it is ends."""

    shown: Shown
    is_new: bool
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rotated:
    """An old key, and what became of it: the one in its place (None where nothing was to be written), or a refusal."""

    key: ApiKey
    shown: Shown | None = None
    refusal: str = ""


def state_of(key: ApiKey, now: datetime) -> KeyState:
    if not key.is_enabled:
        return KeyState.DISABLED
    if key.expires_at is not None and key.expires_at <= now:
        return KeyState.EXPIRED
    return KeyState.REPLACED if key.replaced_by else KeyState.ACTIVE


def listed(bot_ids: Sequence[str] = (), *, actor: Program) -> Iterator[Listed]:
    """The keys of some bots, or of all, by bot and age. Raises what `published` raises."""
    now = database_now()
    for key in _keys_of(bot_ids).order_by("publication__bot", "created_at", "pk"):
        state = state_of(key, now)
        yield Listed(key, state, _still_used(key) if state == KeyState.REPLACED else None)


def create(bot_id: str, description: str, expires_at: datetime | None, *, actor: Program) -> Made:
    """A key of that description: the one that works already, or a new one.

    Raises NotFound, BadRequest for a bot that is not published, Conflict for one too many, and EncryptionError.
    """
    with transaction.atomic():
        list(Bot.objects.select_for_update().filter(pk=bot_id).values_list("pk", flat=True))
        publication = published(bot_id)
        now = database_now()
        for key in publication.keys.filter(description=description).order_by("-created_at", "-pk"):
            if state_of(key, now) == KeyState.ACTIVE:
                return Made(keys.reveal(key), is_new=False)
        keys.refuse_more(publication)
        return Made(keys.add(publication, description, expires_at, actor=actor), is_new=True)


def rotate(key_id: str, overlap: timedelta, *, actor: Program) -> Made:
    """The key in the place of another: the one that a rotation made before, or a new one.

    Raises NotFound, Conflict for a key that does not work any more, and EncryptionError.
    """
    with transaction.atomic():
        key = _key(key_id)
        successor = ApiKey.objects.filter(publication=key.publication_id, pk=key.replaced_by).first()
        if successor is not None:
            return Made(keys.reveal(successor), is_new=False, ends_at=key.expires_at)
        shown = keys.replace(key, overlap, actor=actor)
        return Made(shown, is_new=True, ends_at=key.expires_at)


def rotate_older(
    age: timedelta, bot_ids: Sequence[str], overlap: timedelta, *, is_rehearsal: bool, actor: Program
) -> Iterator[Rotated]:
    """Rotates the keys that work and are older, each in a transaction of its own. A refused one stops no other.

    Called again it finds none of them: their successors are young. Raises what `published` raises.
    """
    now = database_now()
    older = _keys_of(bot_ids).filter(created_at__lt=now - age).order_by("publication__bot", "created_at", "pk")
    for key in older:
        if state_of(key, now) != KeyState.ACTIVE:
            continue
        if is_rehearsal:
            yield Rotated(key)
            continue
        try:
            made = rotate(key.pk, overlap, actor=actor)
        except ApiError as refusal:
            yield Rotated(key, refusal=str(refusal.detail))
        else:
            yield Rotated(key, shown=made.shown)


def revoke(key_id: str, *, actor: Program) -> bool:
    """Deletes a key. Returns whether it was there; raises NotFound for an id that no key had."""
    with transaction.atomic():
        try:
            key = _key(key_id)
        except NotFound:
            verb = {"verb": verbs.REVOKE_KEY.name, "target_kind": verbs.REVOKE_KEY.target}
            if AuditEntry.objects.filter(target_id=key_id, **verb).exists():
                return False
            raise
        keys.delete(key, actor=actor)
        return True


def _keys_of(bot_ids: Sequence[str]) -> "QuerySet[ApiKey]":
    rows = ApiKey.objects.select_related("publication")
    if not bot_ids:
        return rows
    for bot_id in bot_ids:
        published(bot_id)
    return rows.filter(publication__bot__in=bot_ids)


def published(bot_id: str) -> Publication:
    """A bot's publication. Raises NotFound for an unknown bot, and BadRequest for one that is not published."""
    publication = Publication.objects.filter(bot=bot_id).first()
    if publication is None:
        if not Bot.objects.filter(pk=bot_id).exists():
            raise NotFound(f"No bot found with id: {bot_id}")
        raise access.not_published(bot_id)
    return publication


def _key(key_id: str) -> ApiKey:
    """A key, with its bot's row locked. Raises NotFound, and does not repeat the id: it may be a value, by a slip."""
    of_key = Exists(ApiKey.objects.filter(publication__bot=OuterRef("pk"), pk=key_id))
    list(Bot.objects.select_for_update().filter(of_key).values_list("pk", flat=True))
    key = ApiKey.objects.select_related("publication").filter(pk=key_id).first()
    if key is None:
        raise NotFound("There is no key with this id. KEY is an id as list_api_keys shows it, never a key's value.")
    return key


def _still_used(key: ApiKey) -> StillUsed:
    successor = ApiKey.objects.filter(pk=key.replaced_by).values_list("created_at", flat=True).first()
    since = Q() if successor is None else Q(created_at__gte=successor)
    calls = ModelCall.objects.filter(since, key_id=key.pk)
    labels: Iterable[str] = calls.exclude(user_label="").values_list("user_label", flat=True).distinct()
    return StillUsed(calls.aggregate(count=Sum(NUMBER_OF_CALLS, default=0))["count"], sorted(labels)[:MOST_LABELS])

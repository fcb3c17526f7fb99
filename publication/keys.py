"""Keys of published APIs: made, shown, changed, rotated and revoked. One function for each write."""

import hashlib
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from bedrock_chat.audit import recording
from bedrock_chat.database.connections import database_now
from bedrock_chat.encryption import encrypting
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.identity.permissions import refuse_all_but_admin
from bedrock_chat.wire.errors import Conflict
from publication import access, limits, verbs
from publication.models import KEY_ID_LENGTH, ApiKey, Gate, Publication

VALUE_LENGTH = 40
FIRST_DESCRIPTION = "Default api key"
MOST_OF_A_LINEAGE = 20
"""Keys that rotations have made of one. What draws on one counter may still not fill the table."""
_OF_VALUES = string.ascii_letters + string.digits
_OF_IDS = string.ascii_lowercase + string.digits


@dataclass(frozen=True, slots=True)
class Shown:
    """A key with its value, which is empty where no copy was kept."""

    key: ApiKey
    value: str


def digest_of(value: str) -> str:
    """What finds a key. A plain hash will do: nobody guesses 40 random characters, and it outlives SECRET_KEY."""
    return hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()


def create(bot_id: str, description: str, expires_at: datetime | None = None, *, actor: Caller) -> Shown:
    """Makes a key, for the bot's owner. Raises what `access` raises, Conflict for one too many, EncryptionError."""
    with transaction.atomic():
        publication = access.get_publication(actor, bot_id, lock=True)
        access.refuse_all_but_owner(actor, publication.bot)
        refuse_more(publication)
        return add(publication, description, expires_at, actor=actor)


def add(
    publication: Publication,
    description: str,
    expires_at: datetime | None = None,
    *,
    replaced: ApiKey | None = None,
    actor: Actor,
) -> Shown:
    """Makes a key, of `replaced`'s lineage if any, in the transaction of the caller, who has locked the bot."""
    value = "".join(secrets.choice(_OF_VALUES) for _ in range(VALUE_LENGTH))
    key_id = "".join(secrets.choice(_OF_IDS) for _ in range(KEY_ID_LENGTH))
    now = database_now()
    key = ApiKey(
        id=key_id,
        publication=publication,
        lineage=replaced.lineage if replaced else key_id,
        begun_at=replaced.begun_at if replaced else now,
        description=description,
        digest=digest_of(value),
        encrypted_value="" if settings.API_KEY_REVEAL == "once" else encrypting.encrypt(value),
        created_at=now,
        expires_at=expires_at,
    )
    key.save(force_insert=True)
    Gate.objects.bulk_create(limits.accounts_of(publication.pk, key.lineage), ignore_conflicts=True)
    if replaced is None:
        recording.record(verbs.CREATE_KEY, key.pk, actor=actor)
    return Shown(key, value)


def show(bot_id: str, key_id: str, *, actor: Caller) -> Shown:
    """A key with its value. Raises what `access` raises, and EncryptionError."""
    return reveal(access.get_key(access.get_publication(actor, bot_id), key_id))


def look_at(bot_id: str, key_id: str, *, actor: Caller) -> Shown:
    """The same, with an entry of the audit, for an operator who looks. Raises what `show` raises."""
    with transaction.atomic():
        shown = show(bot_id, key_id, actor=actor)
        recording.record(verbs.REVEAL_KEY, key_id, actor=actor)
    return shown


def reveal(key: ApiKey) -> Shown:
    return Shown(key, encrypting.decrypt(key.encrypted_value) if key.encrypted_value else "")


def of(bot_id: str, *, actor: Caller) -> list[ApiKey]:
    """All keys of a bot's publication, the oldest first. Raises what `access` raises."""
    return list(access.get_publication(actor, bot_id).keys.order_by("created_at", "pk"))


def change(bot_id: str, key_id: str, columns: Mapping[str, Any], *, actor: Caller) -> ApiKey:
    """Changes `description`, `is_enabled` and `expires_at`, as far as given. Raises what `access` raises."""
    with transaction.atomic():
        key = access.get_key(access.get_publication(actor, bot_id, lock=True), key_id)
        changed = {name: value for name, value in columns.items() if value != getattr(key, name)}
        if changed:
            was_enabled = key.is_enabled
            for name, value in changed.items():
                setattr(key, name, value)
            if "expires_at" in changed and not _has_successor(key):
                key.replaced_by = ""  # its end is no longer that of an overlap
            key.save(update_fields=[*changed, "replaced_by"])
            switched = recording.Change(was_enabled, key.is_enabled)
            values = {"is_enabled": switched} if "is_enabled" in changed else {}
            recording.record(verbs.CHANGE_KEY, key.pk, actor=actor, fields=changed, values=values)
    return key


def rotate(bot_id: str, key_id: str, overlap: timedelta, *, actor: Caller) -> Shown:
    """Makes a key in the place of another, which ends after the overlap. Raises what `access` and `replace` raise."""
    with transaction.atomic():
        publication = access.get_publication(actor, bot_id, lock=True)
        return replace(access.get_key(publication, key_id), overlap, actor=actor)


def replace(key: ApiKey, overlap: timedelta, *, actor: Actor) -> Shown:
    """Makes a key of the same lineage, in the caller's transaction. The old one ends after the overlap at most.

    Raises Conflict for a key that no longer works, for one that was replaced before (asked twice, it is done once), and
    for a lineage of which as many keys work as may. Where the key in its place was revoked, when it would have ended
    without the overlap is no longer known.
    """
    now = database_now()
    if _has_successor(key):
        raise Conflict(f"This key was replaced by {key.replaced_by}; rotate that one.")
    if key.replaced_by:
        sentence = "The key in the place of this one was revoked, and this one ends with its overlap"
        raise Conflict(f"{sentence}; change its expiresAt first, or make a new key.")
    if not key.is_enabled or (key.expires_at is not None and key.expires_at <= now):
        raise Conflict("This key is disabled or has expired; make a new one.")
    _make_room(key, now, actor=actor)
    ends_at = now + overlap
    shown = add(key.publication, key.description, key.expires_at, replaced=key, actor=actor)
    key.expires_at = ends_at if key.expires_at is None else min(key.expires_at, ends_at)
    key.replaced_by = shown.key.pk
    key.save(update_fields=["expires_at", "replaced_by"])
    hours = round(overlap.total_seconds() / 3600, 3)
    recording.record(verbs.ROTATE_KEY, key.pk, actor=actor, values={"overlap_hours": hours})
    return shown


def _make_room(key: ApiKey, now: datetime, *, actor: Actor) -> None:
    """Of a lineage with as many keys as it may have the oldest that has ended goes. Raises Conflict if none has."""
    of_lineage = ApiKey.objects.filter(publication=key.publication_id, lineage=key.lineage)
    surplus = of_lineage.count() + 1 - MOST_OF_A_LINEAGE
    if surplus <= 0:
        return
    ended = list(of_lineage.filter(expires_at__lte=now).order_by("created_at", "pk")[:surplus])
    if len(ended) < surplus:
        raise Conflict(f"{MOST_OF_A_LINEAGE} keys of this lineage still work or are only disabled; revoke one first.")
    for old in ended:
        delete(old, actor=actor)


def _has_successor(key: ApiKey) -> bool:
    return bool(key.replaced_by) and ApiKey.objects.filter(publication=key.publication, pk=key.replaced_by).exists()


def revoke(bot_id: str, key_id: str, *, actor: Caller) -> None:
    """Deletes a key: the next request with it is refused. Raises what `access` raises."""
    with transaction.atomic():
        delete(access.get_key(access.get_publication(actor, bot_id, lock=True), key_id), actor=actor)


def delete(key: ApiKey, *, actor: Actor) -> None:
    """Deletes a key, in the transaction of the caller. What was used of its limits stays."""
    recording.record(verbs.REVOKE_KEY, key.pk, actor=actor)
    key.delete()


def top_up(bot_id: str, key_id: str, requests: int, *, actor: Caller) -> None:
    """Adds requests to the quota of the present period, by Admin. Raises what `access` raises, and Conflict."""
    with transaction.atomic():
        publication = access.get_publication(actor, bot_id, lock=True)
        refuse_all_but_admin(actor)
        key = access.get_key(publication, key_id)
        if publication.quota_limit is None:
            raise Conflict("This API has no quota.")
        limits.top_up(limits.of_requests(publication, key.lineage, key.begun_at), requests)
        recording.record(verbs.TOP_UP, key.pk, actor=actor, values={"requests": requests})


def refuse_more(publication: Publication) -> None:
    """Raises Conflict where the publication has as many lineages as it may have in a period.

    A deleted one counts as long as its period runs, so that nobody empties a counter by making keys.
    """
    lineages = set(publication.keys.values_list("lineage", flat=True))
    most = settings.MAX_KEYS_PER_PUBLICATION
    present = limits.of_requests(publication, "", publication.created_at)
    label = limits.label_of(present.period, database_now())
    retry_after = None
    if label and len(lineages) < most:
        used = Gate.objects.filter(publication_id=publication.pk, period=label, used__gt=0)
        own = {publication.pk, *(account for account in _polls(publication, lineages))}
        lineages |= set(used.values_list("account", flat=True)) - own
        assert present.period is not None
        retry_after = limits.ends_at(present.period, label) - database_now().timestamp()
    if len(lineages) >= most:
        sentence = f"This API has {most} keys, as many as it may have"
        when = " in this period; the next one may be made when it ends." if retry_after else "; revoke one first."
        raise Conflict(sentence + when, retry_after=retry_after)


def _polls(publication: Publication, lineages: Iterable[str]) -> Iterable[str]:
    yield from (account + limits.POLLS for account in (publication.pk, *lineages))

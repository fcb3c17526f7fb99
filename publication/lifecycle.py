"""Publishing a bot, changing its API, and withdrawing it. Each is a row: at once, in one transaction."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction

from bedrock_chat.audit import recording
from bedrock_chat.audit.recording import Change
from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.jobs.models import Job
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.revisions import refuse_outdated, revision_of
from bots import access as bots_access
from bots.models import Bot, Scope
from publication import access, keys, running, verbs
from publication.idempotency import removal
from publication.models import ApiKey, Publication, PublicationOwner, TurnRequest

RECORDED = tuple(verbs.PUBLISH.values)
"""The columns whose values the audit keeps."""
LIMITS = ("quota_limit", "quota_offset", "quota_period", "rate_limit", "burst_limit", "limits_scope")


def publish(bot_id: str, columns: Mapping[str, Any], *, actor: Caller) -> Publication:
    """Publishes a bot of the caller's own, with a first key.

    Raises what `access` raises, and BadRequest for a bot that is not shared with everybody or is published already.
    """
    with transaction.atomic():
        bot = access.get_bot(actor, bot_id, lock=True)
        access.refuse_all_but_owner(actor, bot)
        if bot.scope != Scope.ALL:
            raise BadRequest(f"Bot {bot_id} is not shared with everybody; only such bots can be published.")
        if Publication.objects.filter(bot=bot).exists():
            raise BadRequest(f"Bot {bot_id} is published already.")
        bot.published_at = now = database_now()
        bot.save(update_fields=["published_at"])
        publication = Publication(bot=bot, created_at=now, **columns)
        publication.save(force_insert=True)
        PublicationOwner(publication_id=publication.pk, user_id=bot.owner_id, bot_id=bot.pk).save(force_insert=True)
        keys.add(publication, keys.FIRST_DESCRIPTION, actor=actor)
        values = {name: getattr(publication, name) for name in RECORDED}
        recording.record(verbs.PUBLISH, bot_id, actor=actor, values=values)
    return publication


def limits_revision(publication: Publication) -> str:
    """The state of an API's limits that a change is based on."""
    return revision_of(publication, LIMITS)


def change(bot_id: str, columns: Mapping[str, Any], *, limits_base: str | None = None, actor: Caller) -> Publication:
    """Changes an API in place, for the bot's owner or Admin.

    Raises what `access` raises, NotFound for a version that is not kept, and Conflict where the limits are not those of
    the revision `limits_base` any more.
    """
    with transaction.atomic():
        publication = access.get_publication(actor, bot_id, lock=True)
        refuse_outdated(publication, LIMITS, limits_base)
        if (number := columns.get("bot_version")) is not None:
            bots_access.get_version(publication.bot, number)
        changed = {name: value for name, value in columns.items() if value != getattr(publication, name)}
        if changed:
            values = {
                name: Change(getattr(publication, name), value) for name, value in changed.items() if name in RECORDED
            }
            for name, value in changed.items():
                setattr(publication, name, value)
            publication.save(update_fields=list(changed))
            recording.record(verbs.CHANGE, bot_id, actor=actor, fields=changed, values=values)
    return publication


def withdraw(bot_id: str, *, actor: Caller) -> None:
    """Ends an API, for the bot's owner or Admin: its keys are gone, waiting turns never run, running ones are stopped.

    Raises what `access` raises.
    """
    with transaction.atomic():
        publication = access.get_publication(actor, bot_id, lock=True)
        publication.bot.published_at = None
        publication.bot.save(update_fields=["published_at"])
        end(publication, actor=actor)


def pinned_versions(bot: Bot) -> list[int]:
    """The version of a bot that its API stays at, if it does: edits of the bot must not delete it."""
    pinned = Publication.objects.filter(bot=bot, bot_version__isnull=False)
    return [number for number in pinned.values_list("bot_version", flat=True) if number is not None]


def end_of_bot(bot: Bot, actor: Actor) -> None:
    """Ends the API of a bot that is about to be deleted, if it has one."""
    publication = Publication.objects.filter(bot=bot).first()
    if publication is not None:
        end(publication, actor=actor)


def move_with_bot(bot: Bot, actor: Actor) -> None:
    """Gives the bot's API, if it has one, to the bot's new owner, with its keys, its limits and its conversations.

    The keys go on working. Their values were the old owner's secrets, so no copy stays: the new owner replaces them.
    """
    publication = Publication.objects.filter(bot=bot).first()
    if publication is None:
        return
    PublicationOwner.objects.filter(publication_id=publication.pk).update(user_id=bot.owner_id)
    ApiKey.objects.filter(publication=publication).update(encrypted_value="")


def end(publication: Publication, *, actor: Actor) -> None:
    """Ends an API in the transaction of the caller, who has locked the bot."""
    for key in ApiKey.objects.filter(publication=publication).order_by("created_at", "pk"):
        keys.delete(key, actor=actor)
    waiting = TurnRequest.objects.filter(publication_id=publication.pk, done_at__isnull=True)
    pks = list(waiting.values_list("pk", flat=True))
    # The end of a turn locks these rows in the same order: its messages, the request, the job.
    running.stop_all(publication.pk)
    waiting.update(done_at=database_now(), reason=running.WITHDRAWN, content=[])
    Job.objects.filter(key__in=[running.job_key(pk) for pk in pks]).delete()
    storing.forget(running.BLOB_OWNER, pks)
    removal.soon(publication.pk)
    recording.record(verbs.WITHDRAW, publication.bot_id, actor=actor)
    publication.delete()


def endpoint(publication: Publication) -> str:
    """Where the API is served."""
    return f"{settings.PUBLIC_BASE_URL}/published/{publication.bot_id}/{publication.stage}"

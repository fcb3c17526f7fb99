"""Versions of a bot: each change makes one. The newest ones are kept, and those that another app needs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from bedrock_chat.audit import recording
from bedrock_chat.audit.verbs import Verb
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import users
from bedrock_chat.identity.caller import Actor, Caller
from bots import access, content, files, syncing
from bots.content import Content
from bots.models import Bot, BotVersion

Needed = Callable[[Bot], Collection[int]]
"""The numbers of the versions of a locked bot that another app needs."""

_needed: list[Needed] = []


def keep(needed: Needed) -> None:
    """Registers which versions are kept, however old. Apps that build on bots call it in `apps.ready`."""
    _needed.append(needed)


def save(
    bot: Bot,
    before: Content,
    after: Content,
    verb: Verb,
    values: Mapping[str, Any] = recording.NO_VALUES,
    *,
    unversioned: Sequence[str] = (),
    actor: Actor,
) -> None:
    """Makes `after` the content of a locked bot, as its next version, with an entry of the audit.

    `unversioned` are columns of the row that have changed as well and are part of no version: alone they make none. If
    nothing changes, nothing is written.

    Raises EncryptionError for secrets that cannot be stored.
    """
    changed = content.changed_fields(before, after)
    if not changed:
        if unversioned:
            bot.save(update_fields=list(unversioned))
            recording.record(verb, bot.pk, actor=actor, fields=unversioned, values=values)
        return
    now = database_now()
    bot.version += 1
    bot.updated_at = now
    content.write(after, bot)
    bot.is_indexed = False
    syncing.begin(bot, changed)
    bot.save()
    add(bot, after, changed, now, actor=actor)
    if _prune(bot) or "files" in changed:
        files.settle(bot)
    recording.record(
        verb,
        bot.pk,
        actor=actor,
        fields=[*changed, *unversioned],
        version_before=bot.version - 1,
        version_after=bot.version,
        values=values,
    )


def add(bot: Bot, kept: Content, changed: Sequence[str], now: datetime, *, actor: Actor) -> None:
    """Keeps a content as the version that the bot's row has the number of. What a program makes is the owner's.

    Raises Forbidden for an erased caller.
    """
    author_id = access.person(actor) if isinstance(actor, Caller) else bot.owner_id
    if isinstance(actor, Caller) and not access.owns(actor, bot):  # an owner's row is held by the bot's
        users.hold(actor)
    version = BotVersion(bot=bot, number=bot.version, author_id=author_id, changed=list(changed), created_at=now)
    content.write(kept, version)
    version.save(force_insert=True)


def of(bot_id: str, *, actor: Caller) -> QuerySet[BotVersion]:
    """The versions that are kept, the newest first, for the bot's owner or Admin. Raises NotFound and Forbidden."""
    bot = access.get_editable(actor, bot_id)
    unread = ("description", "instruction", "configuration", "encrypted_secrets")
    return BotVersion.objects.filter(bot=bot).order_by("-number").defer(*unread)


def get(bot_id: str, number: int, *, actor: Caller) -> tuple[BotVersion, BotVersion | None]:
    """A version and the one before it, if that is kept. Raises NotFound and Forbidden."""
    bot = access.get_editable(actor, bot_id)
    version = access.get_version(bot, number)
    return version, BotVersion.objects.filter(bot=bot, number=number - 1).first()


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a bot as it is today, and as it would be then. Of `secrets` neither is told."""

    name: str
    today: Any
    then: Any


def differences(bot_id: str, number: int, *, actor: Caller) -> list[Difference]:
    """What restoring a version would change, for the bot's owner or Admin.

    Raises NotFound, Forbidden, and EncryptionError for secrets that cannot be read.
    """
    bot = access.get_editable(actor, bot_id)
    today = content.read(bot)
    then = content.restored(content.read(access.get_version(bot, number)), today)
    return [
        Difference(name, None, None) if name == "secrets" else Difference(name, _part(today, name), _part(then, name))
        for name in content.changed_fields(today, then)
    ]


def _part(whole: Content, name: str) -> Any:
    return getattr(whole, name) if name in ("title", "description", "instruction") else whole.configuration.get(name)


def _prune(bot: Bot) -> int:
    """Deletes the versions that are too many, except those that are needed. Returns how many."""
    old = BotVersion.objects.filter(bot=bot, number__lte=bot.version - settings.BOT_VERSIONS)
    if not old.exists():
        return 0
    return old.exclude(number__in=[number for needed in _needed for number in needed(bot)]).delete()[0]

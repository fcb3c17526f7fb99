"""Making, changing and deleting bots: one function for each write, each with its entry of the audit."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, transaction

from bedrock_chat.audit import recording
from bedrock_chat.audit.recording import NO_VALUES, Change
from bedrock_chat.audit.verbs import Verb
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import users
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.jobs import queue
from bedrock_chat.retention import holds
from bedrock_chat.retention.models import HoldKind
from bedrock_chat.wire.errors import BadRequest, Conflict, NotFound
from bots import access, content, files, guarding, syncing, verbs, versions
from bots.configuration import files_of
from bots.content import Content
from bots.knowledge import deleting
from bots.models import Bot, BotAlias, BotFile, BotVersion, TakenBotId

FORGET = "forget bot"
"""The job that follows a deletion."""


def create(bot_id: str, sent: Mapping[str, Any], *, actor: Caller) -> Bot:
    """Makes a bot of the caller's own, private, with its version 1. `sent` as for `content.edited`.

    Raises Forbidden for callers without the group CreatingBotAllowed, BadRequest for one bot too many, Conflict for an
    id that was ever taken, and what `content.edited` and `content.write` raise.
    """
    access.refuse_creating(actor)
    collected = files.collect(bot_id, sent, actor=actor)
    first = content.edited(Content(), sent, collected.entries)
    allow_cloning = sent.get("allow_cloning", False)
    values = {"allow_cloning": True} if allow_cloning else NO_VALUES
    with one_more_bot(actor):
        bot = insert(bot_id, first, verbs.CREATE, values, allow_cloning=allow_cloning, actor=actor)
    collected.discard()
    return bot


@contextmanager
def one_more_bot(actor: Caller) -> Iterator[None]:
    """The transaction in which a caller gets a bot of their own.

    Raises BadRequest for one bot too many, and Forbidden for a caller who is erased meanwhile.
    """
    try:
        with transaction.atomic():
            access.refuse_more_bots(actor)
            yield
    except IntegrityError:
        users.refuse_erased(actor)
        raise


def insert(
    bot_id: str,
    first: Content,
    verb: Verb,
    values: Mapping[str, Any] = NO_VALUES,
    *,
    allow_cloning: bool = False,
    owner_id: str | None = None,
    actor: Actor,
) -> Bot:
    """Writes a new bot, private, with its version 1, in the transaction around this. Without `owner_id`, the caller's.

    The files that it names are blobs already. Raises Conflict for an id that was ever taken, and EncryptionError.
    """
    if owner_id is None:
        assert isinstance(actor, Caller)
        owner_id = access.person(actor)
    now = database_now()
    _take(bot_id)
    bot = Bot(id=bot_id, owner_id=owner_id, allow_cloning=allow_cloning, created_at=now, updated_at=now)
    content.write(first, bot)
    syncing.begin(bot, content.changed_fields(Content(), first))
    bot.save(force_insert=True)
    versions.add(bot, first, [], now, actor=actor)
    if files_of(bot.configuration):
        files.settle(bot)
    recording.record(verb, bot_id, actor=actor, version_after=bot.version, values=values)
    return bot


def modify(bot_id: str, sent: Mapping[str, Any], *, base_version: int | None = None, actor: Caller) -> Bot:
    """Changes a bot, for its owner or Admin. What changes something makes a version. `sent` as for `content.edited`.

    Raises NotFound, Forbidden, Conflict for a `base_version` that is not the newest one, and what `content` and
    `files.collect` raise.
    """
    if files.uploads_named_in(sent):
        access.get_editable(actor, bot_id)  # files of others' bots are not even looked for
    collected = files.collect(bot_id, sent, actor=actor)
    with transaction.atomic():
        bot = access.get_editable(actor, bot_id, lock=True)
        _refuse_outdated(bot, base_version)
        before = content.read(bot)
        if sent.get("bedrock_guardrails") is not None:
            sent = {**sent, "bedrock_guardrails": guarding.without_own(sent["bedrock_guardrails"], bot_id)}
        after = content.edited(before, sent, collected.entries)
        columns = allow_cloning(bot, sent.get("allow_cloning", bot.allow_cloning))
        versions.save(bot, before, after, verbs.EDIT, columns, unversioned=list(columns), actor=actor)
    collected.discard()
    return bot


def _refuse_outdated(bot: Bot, base_version: int | None) -> None:
    """Raises Conflict where a locked bot has another version than the one that a write is based on, if it is on one."""
    if base_version is not None and base_version != bot.version:
        sentence = f"The bot was changed meanwhile: it has version {bot.version}, and this is based on {base_version}."
        raise Conflict(sentence, extra={"version": bot.version})


def allow_cloning(bot: Bot, allowed: bool) -> dict[str, Change]:
    """Sets the column of a locked bot that the transaction around this will store. Returns the change, if it is one."""
    before, bot.allow_cloning = bot.allow_cloning, allowed
    return {"allow_cloning": Change(before, allowed)} if before != allowed else {}


def restore(bot_id: str, number: int, *, base_version: int | None = None, actor: Caller) -> Bot:
    """Makes an older version's content the newest version, for the bot's owner or Admin.

    Secrets, scope and people stay as they are today. Raises NotFound, Forbidden, Conflict for a `base_version` that is
    not the newest one, and what `content` raises.
    """
    with transaction.atomic():
        bot = access.get_editable(actor, bot_id, lock=True)
        _refuse_outdated(bot, base_version)
        version = access.get_version(bot, number)
        today = content.read(bot)
        restored = content.restored(content.read(version), today)
        versions.save(bot, today, restored, verbs.RESTORE, {"version": number}, actor=actor)
    return bot


def remove_file(bot_id: str, digest: str, *, actor: Caller) -> None:
    """Removes a file from a bot and from all of its versions, for its owner or Admin.

    Where the bot has it today, that makes a version. Older versions stay, without the file. Raises NotFound and
    Forbidden.
    """
    with transaction.atomic():
        bot = access.get_editable(actor, bot_id, lock=True)
        if not BotFile.objects.filter(bot=bot, sha256=digest).exists():
            raise NotFound("The bot has no such file.")
        values = {"digests": [digest]}
        today = content.read(bot)
        after = content.without_file(today, digest)
        if after is today:
            recording.record(verbs.REMOVE_FILE, bot_id, actor=actor, fields=["files"], values=values)
        else:
            versions.save(bot, today, after, verbs.REMOVE_FILE, values, actor=actor)
        for version in BotVersion.objects.filter(bot=bot).only("bot", "number", "configuration"):
            before = version.configuration
            version.configuration = content.configuration_without_file(before, digest)
            if version.configuration is not before:
                version.save(update_fields=["configuration"])
        deleting.hide_file(bot_id, digest)
        files.settle(bot)


def delete(bot_id: str, *, actor: Caller) -> None:
    """Deletes a bot with its versions and grants, for its owner or Admin. Conversations with it stay.

    Others' rows of it stay too: their lists show it as not available. Raises NotFound, Forbidden, BadRequest for a
    pinned bot, and OnHold where Admin deletes somebody else's bot that is on hold.
    """
    with transaction.atomic():
        holds.lock()
        bot = access.get_editable(actor, bot_id, lock=True)
        if not access.owns(actor, bot):
            holds.refuse(HoldKind.BOT, bot_id)
        if bot.pinned_order is not None:
            raise BadRequest("An administrator has pinned this bot; it cannot be deleted before it is unpinned.")
        BotAlias.objects.filter(bot=bot, user=bot.owner_id).delete()
        remove(bot, actor=actor)


Ending = Callable[[Bot, Actor], None]
"""Ends what another app has of a bot that is about to be deleted, in the same transaction."""

_endings: list[Ending] = []


def before_removal(ending: Ending) -> None:
    """Registers an ending. Apps that build on bots call it in `apps.ready`."""
    _endings.append(ending)


def remove(bot: Bot, *, actor: Actor) -> None:
    """Deletes a locked bot with its versions, files and grants, whoever may do so, and ends what others have of it.

    A job takes it from the index of the store.
    """
    for end in _endings:
        end(bot, actor)
    queue.enqueue(FORGET, {"bot": bot.pk})
    recording.record(verbs.DELETE, bot.pk, actor=actor, version_before=bot.version)
    files.forget(bot)
    syncing.forget(bot)
    bot.delete()


def _take(bot_id: str) -> None:
    """Takes an id for ever. Raises Conflict if any bot has it or had it."""
    try:
        with transaction.atomic():
            TakenBotId(id=bot_id).save(force_insert=True)
    except IntegrityError:
        raise Conflict(f"The id {bot_id} is taken; choose another one.") from None

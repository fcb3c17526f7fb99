"""Bots in a folder of files, as an operator keeps them in git.

DIR/ID.json            the document of a bot, laid out so that a change of the bot is a small change of the file
DIR/files/SHA-256      the files that any of those documents name, if they were asked for
DIR/*.zip              bots as REST exports them with their files; only an import reads them

Both ways are idempotent: what is the same already is not written.
"""

import difflib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from bedrock_chat.audit import recording
from bedrock_chat.blobs import storing
from bedrock_chat.identity.caller import Actor
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import ApiError, BadRequest, Conflict
from bots import access, content, editing, verbs, versions
from bots.models import Bot, BotFile, TakenBotId
from bots.serializers.bots import is_bot_id
from bots.transfer import documents, exporting, importing
from bots.transfer.archives import LARGEST_DOCUMENT, MEGABYTE, Archive
from bots.transfer.documents import Document
from bots.transfer.importing import Bodies

FILES = "files"
JSON, ZIP = ".json", ".zip"


class Refused(Exception):
    """Nothing was imported. `sentences` say why, one for each file that is not sound."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


# ---- Out ------------------------------------------------------------------------------------------------------------


def write(folder: Path, ids: Iterable[str], *, with_files: bool, actor: Actor) -> Iterator[str]:
    """Writes bots into a folder, all where no ids are named. Yields a sentence for each file that is new or differs.

    Each bot that is read is recorded. Raises NotFound for a bot that is not there, and Conflict for ids that are the
    same to a file system that ignores case.
    """
    wanted = sorted(set(ids) or Bot.objects.values_list("pk", flat=True))
    _refuse_same_names(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    digests: dict[str, None] = {}
    for bot_id in wanted:
        bot = Bot.objects.select_related("owner").filter(pk=bot_id).first()
        if bot is None:
            raise access.no_bot(bot_id)
        document = exporting.document_of(bot, bot.owner)
        with transaction.atomic():
            recording.record(verbs.EXPORT, bot_id, actor=actor)
        if _replace(folder / f"{bot_id}{JSON}", laid_out(document)):
            yield f"{bot_id}{JSON}"
        digests |= dict.fromkeys(exporting.digests_of(bot))
    if with_files:
        yield from _write_files(folder / FILES, digests)


def laid_out(document: Any) -> bytes:
    """A document as its file has it: the same for the same bot, and with a line for each value."""
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _write_files(folder: Path, digests: Iterable[str]) -> Iterator[str]:
    """Raises Conflict for a lost file."""
    folder.mkdir(exist_ok=True)
    stored = storing.StoredFiles()
    stored.expect(digests)
    for sha256 in digests:
        path = folder / sha256
        if path.exists() and path.stat().st_size == stored.size(sha256):
            continue
        storing.let_go_of_database()
        try:
            body = stored.read(sha256)
        except FileNotFoundError:
            raise Conflict(f"The bytes of the file {sha256} are lost; remove it from its bots.") from None
        _replace(path, body)
        yield f"{FILES}/{sha256}"


def _refuse_same_names(ids: Iterable[str]) -> None:
    names: dict[str, str] = {}
    for bot_id in ids:
        if (other := names.setdefault(bot_id.lower(), bot_id)) != bot_id:
            raise Conflict(f"The bots {other} and {bot_id} would have one file where a file system ignores case.")


def _replace(path: Path, body: bytes) -> bool:
    """Writes a file that is whole or as before. Returns whether it differs from before."""
    if path.exists() and path.stat().st_size == len(body) and path.read_bytes() == body:
        return False
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(body)
            Path(file.name).chmod(0o644)
            os.replace(file.name, path)  # noqa: PTH105  one word for one thing
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return True


# ---- In -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """What the import will do for one file. `before` and `after` are the bot's documents; the same ones: nothing.

    `before` is None for a bot that is not there yet.
    """

    name: str
    bot_id: str
    owner: User
    document: Document
    bodies: Bodies
    before: Mapping[str, Any] | None
    after: Mapping[str, Any]

    @property
    def is_change(self) -> bool:
        return self.before != self.after

    def sentence(self) -> str:
        if self.before is None:
            return f"{self.name}: a new bot {self.bot_id} of {self.owner}"
        return f"{self.name}: {'changes' if self.is_change else 'leaves'} {self.bot_id} of {self.owner}"

    def diff(self) -> Iterator[str]:
        """What changes, field by field, as lines."""
        before = self.before or {}
        for field, value in self.after.items():
            if field not in before or before[field] != value:
                yield f"  {field}"
                lines = difflib.unified_diff(_lines(before.get(field)), _lines(value), lineterm="", n=1)
                yield from (f"    {line}" for line in list(lines)[2:] if not line.startswith("@@"))


def plan(folder: Path, fallback: User | None) -> list[Planned]:
    """Looks at all files of a folder, and writes nothing. `fallback` owns the bots whose owner is not known here.

    Raises Refused.
    """
    planned: list[Planned] = []
    sentences: list[str] = []
    names: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in (JSON, ZIP) or path.name.startswith("."):
            continue
        try:
            change = _plan(path, folder / FILES, fallback)
            if (other := names.setdefault(change.bot_id, path.name)) != path.name:
                raise Conflict(f"{other} is the bot {change.bot_id}, too.")
            planned.append(change)
        except ApiError as error:
            sentences += [f"{path.name}: {sentence}" for sentence in error.errors]
    sentences += _too_many(planned)
    if sentences:
        raise Refused(sentences)
    return planned


def _too_many(planned: Iterable[Planned]) -> Iterator[str]:
    new = Counter(change.owner for change in planned if change.before is None)
    for owner, number in new.items():
        if Bot.objects.filter(owner=owner).count() + number > settings.BOTS_PER_USER:
            yield f"{owner} would have more than {settings.BOTS_PER_USER} bots."


def apply(planned: Planned, *, actor: Actor) -> None:
    """Makes the bot, or changes it, in one transaction. Secrets of a bot that is there stay.

    Raises what `content.imported` raises, and Conflict where the id was taken meanwhile.
    """
    if not planned.is_change:
        return
    document = planned.document
    if planned.bodies:
        importing.store(document, planned.bodies)
    with transaction.atomic():
        bot = Bot.objects.select_for_update().filter(pk=planned.bot_id).first()
        allowed = document.allow_cloning
        if bot is None:
            first = content.imported(document.sent, document.files)
            values = {"allow_cloning": allowed}
            owner_id = planned.owner.pk
            editing.insert(
                planned.bot_id, first, verbs.IMPORT, values, allow_cloning=allowed, owner_id=owner_id, actor=actor
            )
            return
        before = content.read(bot)
        after = content.imported(document.sent, document.files, before)
        columns = editing.allow_cloning(bot, allowed)
        versions.save(bot, before, after, verbs.IMPORT, columns, unversioned=list(columns), actor=actor)


def _plan(path: Path, files: Path, fallback: User | None) -> Planned:
    """Raises ApiError."""
    document, bodies = _read(path, files)
    bot_id = document.bot_id or path.stem
    if not is_bot_id(bot_id):
        raise BadRequest("The document has no id, and the file's name is none.")
    bot = Bot.objects.select_related("owner").filter(pk=bot_id).first()
    owner = _owner(document, bot, fallback)
    if bot is None and TakenBotId.objects.filter(pk=bot_id).exists():
        raise Conflict(f"The id {bot_id} was a bot's that is gone; give the document another one.")
    today = content.read(bot) if bot else None
    own = importing.own_sizes(BotFile.objects.filter(bot=bot_id), document)
    missing = {sha256: reader for sha256, reader in bodies.items() if sha256 not in own}
    importing.refuse_missing(document, missing, own)
    for index, entry in enumerate(document.files.values()):
        if entry["sha256"] in missing:
            importing.checked(index, entry, missing)
    after = content.imported(document.sent, document.files, today)
    before = None
    if bot is not None and today is not None:
        before = documents.bot_part(today, allow_cloning=bot.allow_cloning)
    return Planned(
        path.name,
        bot_id,
        owner,
        document,
        missing,
        before,
        documents.bot_part(after, allow_cloning=document.allow_cloning),
    )


def _read(path: Path, files: Path) -> tuple[Document, Bodies]:
    """A file's document, and the bytes that come with it. Raises BadRequest."""
    if path.suffix == ZIP:
        with path.open("rb") as file:
            archive = Archive(file)
            document = importing.document_in(archive)
            importing.refuse_extra(document, archive.digests)
            return document, {sha256: partial(_zipped_body, path, sha256) for sha256 in archive.digests}
    if path.stat().st_size > LARGEST_DOCUMENT:
        raise BadRequest(f"The document has more than {LARGEST_DOCUMENT // MEGABYTE} MB.")
    document = importing.parse(path.read_bytes(), path.name)
    digests = {entry["sha256"] for entry in document.files.values()}
    return document, {sha256: partial(_body, files / sha256) for sha256 in digests if (files / sha256).is_file()}


def _zipped_body(path: Path, sha256: str) -> bytes:
    with path.open("rb") as file:
        return Archive(file).read(sha256)


def _body(path: Path) -> bytes:
    if path.stat().st_size > settings.UPLOAD_MB * MEGABYTE:
        raise BadRequest(f"{FILES}/{path.name}: larger than {settings.UPLOAD_MB} MB.")
    return path.read_bytes()


def _owner(document: Document, bot: Bot | None, fallback: User | None) -> User:
    """Whose bot it is here: whose it is already, who has the id or else the name in the document, or the fallback.

    Raises Conflict for a bot of somebody else, and BadRequest where nobody is known.
    """
    known = _known(document)
    if bot is not None:
        if bot.owner not in (known, fallback):
            raise Conflict(f"The bot {bot.pk} is {bot.owner}'s here, and not this one; give the document another id.")
        return bot.owner
    owner = known or fallback
    if owner is None:
        raise BadRequest("Its owner is not known here; name one with --owner.")
    return owner


def _known(document: Document) -> User | None:
    if document.owner is None:
        return None
    user_id, username = document.owner
    if user := User.objects.filter(pk=user_id).first():
        return user
    named = list(User.objects.filter(username=username)[:2]) if username else []
    return named[0] if len(named) == 1 else None


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return (
        value.splitlines() if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2).splitlines()
    )

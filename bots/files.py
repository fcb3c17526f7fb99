"""A bot's files: uploaded to the caller's own temporary place, kept when the bot is saved.

A version names its files in its configuration, each by its digest; a `BotFile` holds the bytes for all versions of a
bot that name them. What no version names any more is let go.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_chat.blobs import storing, upload_links, uploads
from bedrock_chat.blobs.waiting_files import WaitingFile
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import BadRequest, Conflict, PayloadTooLarge
from bots import access
from bots.configuration import Configuration, FileEntry, files_of
from bots.knowledge.reading import cleaning
from bots.knowledge.sources import kinds
from bots.models import Bot, BotFile, BotVersion

BLOB_OWNER = "bot file"
LONGEST_NAME = 255
LONGEST_TYPE = 255
ATTEMPTS = 3
MOST_AT_ONCE = 100
MOST_MEGABYTES_AT_ONCE = 500
"""Of uploaded files, in one request: a bucket is asked several times for each, and each is read whole."""
MEDIA_TYPES = {
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "json": "application/json",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf",
    "pdf": "application/pdf",
}
"""Ending of a file's name → its content type. Browsers name many for the same file, so the ending decides."""

_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff/\\]+")
_CONTENT_TYPE = re.compile(r"(?:text|application)/[A-Za-z0-9!#$&^_.+-]+(?:; *[A-Za-z0-9_-]+=[A-Za-z0-9\"_.:-]+)*")


@dataclass(frozen=True, slots=True)
class Collected:
    """Uploaded files that are blobs by now, by name: for the bot, and as they wait in the temporary place."""

    entries: Mapping[str, FileEntry]
    waiting: Iterable[WaitingFile]

    def discard(self) -> None:
        """Takes them from the temporary place, now that the bot has them."""
        for waiting in self.waiting:
            uploads.discard(waiting)


# ---- The temporary place --------------------------------------------------------------------------------------------


def upload_url(bot_id: str, name: str, content_type: str, *, actor: Caller) -> str:
    """An address that takes a file for this bot, which need not exist yet, from whoever has the address.

    Raises BadRequest for a name that no file may have, or a type that no bot reads; what `refuse` raises.
    """
    refuse(bot_id, actor=actor)
    refuse_name(name)
    if content_type and (len(content_type) > LONGEST_TYPE or not _CONTENT_TYPE.fullmatch(content_type)):
        raise BadRequest("contentType: bots have files of text and documents only.")
    return upload_links.url(access.person(actor), _place(bot_id, name, actor), content_type)


def remove_upload(bot_id: str, name: str, *, actor: Caller) -> None:
    """Removes what the caller has uploaded under this name, if anything waits there. Raises what `refuse` raises."""
    refuse(bot_id, actor=actor)
    uploads.remove(_place(bot_id, name, actor))


def refuse(bot_id: str, *, actor: Caller) -> None:
    """Raises Forbidden for a bot that the caller may not edit and, where there is none, if they may not make it."""
    known = access.find(actor, bot_id)
    if known is None:
        access.refuse_creating(actor)
    elif not access.may_edit(actor, known.bot):
        raise access.not_yours(bot_id)


def refuse_name(name: str) -> None:
    """Raises BadRequest for a name that is none of a single file, or whose ending no bot reads."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name) or name.startswith(".") or name != name.strip():
        raise BadRequest(f"filename: expected a file's name, without a path, of {LONGEST_NAME} characters at most.")
    if cleaning.hides(name):  # an answer's reader would take `invoice…fdp.rtf`, turned round, for a PDF
        raise BadRequest("filename: it holds characters that nobody sees; rename the file.")
    if ending not in MEDIA_TYPES:
        remedy = f" {kinds.refusal_of_name(name)}" if ending in kinds.SAVE_AS else ""
        raise BadRequest(f"filename: bots have files of these types: {', '.join(MEDIA_TYPES)}.{remedy}")


def media_type(name: str) -> str:
    """The content type that a file is served with."""
    return MEDIA_TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")


# ---- Saving a bot ---------------------------------------------------------------------------------------------------


def collect(bot_id: str, sent: Mapping[str, Any], *, actor: Caller) -> Collected:
    """Makes blobs of the uploaded files that a creation or an edit names. Call it outside any transaction.

    What was not uploaded is left out: the bot may have it already. `sent` is as for `content.edited`. Raises
    BadRequest and PayloadTooLarge for more than one request keeps, Conflict and StorageUnavailable.
    """
    names = {_place(bot_id, name, actor): name for name in uploads_named_in(sent)}
    entries: dict[str, FileEntry] = {}
    kept: list[WaitingFile] = []
    places = list(names)
    if not names:
        return Collected(entries, kept)
    for _ in range(ATTEMPTS):
        waiting_files = list(uploads.find_all(actor.account, places).values())
        _refuse_too_many(waiting_files)
        for waiting, sha256 in uploads.keep(waiting_files).items():
            entries[names[waiting.name]] = {"sha256": sha256, "size": waiting.size}
            kept.append(waiting)
        # Another edit has taken these just now, or another upload has replaced them.
        places = [waiting.name for waiting in waiting_files if names[waiting.name] not in entries]
        if not places:
            return Collected(entries, kept)
    raise Conflict("Files were uploaded again while the bot was saved; try again.")


def _refuse_too_many(files: Sequence[WaitingFile]) -> None:
    if len(files) > MOST_AT_ONCE:
        raise BadRequest(
            f"knowledge: at most {MOST_AT_ONCE} uploaded files are added at once; add the others afterwards."
        )
    if sum(file.size for file in files) > MOST_MEGABYTES_AT_ONCE * uploads.MEGABYTE:
        raise PayloadTooLarge(
            f"Files of at most {MOST_MEGABYTES_AT_ONCE} MB together are added at once; add the others afterwards."
        )


def uploads_named_in(sent: Mapping[str, Any]) -> list[str]:
    """The names of files that may have been uploaded for a creation or an edit, each once."""
    knowledge = sent.get("knowledge") or {}
    return list(dict.fromkeys([*(knowledge.get("filenames") or ()), *(knowledge.get("added_filenames") or ())]))


def settle(bot: Bot) -> None:
    """Holds what the bot and its versions name, and lets go of the rest. Call it in the transaction that saves them."""
    stored = dict(BotFile.objects.filter(bot=bot).values_list("sha256", "pk"))
    if not stored and not files_of(bot.configuration):
        return  # a version names no file that is not held
    named: dict[str, FileEntry] = {}
    for configuration in _configurations(bot):
        named |= {entry["sha256"]: entry for entry in files_of(configuration).values()}
    new = [BotFile(bot=bot, sha256=sha256, size=named[sha256]["size"]) for sha256 in named if sha256 not in stored]
    BotFile.objects.bulk_create(new)
    storing.refer_each(BLOB_OWNER, {file.pk: file.sha256 for file in new})
    _let_go([pk for sha256, pk in stored.items() if sha256 not in named])


def forget(bot: Bot) -> None:
    """Lets go of all files of a bot that is being deleted, in the same transaction."""
    _let_go(list(BotFile.objects.filter(bot=bot).values_list("pk", flat=True)))


def _let_go(keys: list[int]) -> None:
    if keys:
        storing.forget(BLOB_OWNER, keys)
        BotFile.objects.filter(pk__in=keys).delete()


def _configurations(bot: Bot) -> Iterator[Configuration]:
    yield bot.configuration
    yield from BotVersion.objects.filter(bot=bot).values_list("configuration", flat=True)


def _place(bot_id: str, name: str, actor: Caller) -> str:
    return uploads.name_of(actor.account, "bot", bot_id, name)

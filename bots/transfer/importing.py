"""Bots made of documents. All is looked at before anything is stored, and a bot is whole or not there."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bedrock_chat.blobs import storing
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire import parsers
from bedrock_chat.wire.errors import BadRequest, invalid
from bedrock_chat.wire.ids import new_id
from bots import access, content, editing, verbs
from bots.configuration import FileEntry
from bots.models import Bot, BotFile
from bots.transfer import documents
from bots.transfer.archives import DOCUMENT, Archive
from bots.transfer.documents import Document

Bodies = Mapping[str, Callable[[], bytes]]
"""SHA-256 → reads the bytes that are said to have it."""


def create(sent: Any, *, actor: Caller) -> Bot:
    """Makes a bot of the caller's own of a document, or of a zip: private, with a new id.

    `sent` is parsed JSON, or the open file of a zip, which is closed. A document without a zip may name files that a
    bot of the caller's own has.

    Raises Forbidden for callers who may not make bots, and BadRequest, which names the place.
    """
    access.refuse_creating(actor)
    if not hasattr(sent, "read"):
        return _create(documents.read(sent), {}, actor=actor)
    with sent:
        archive = Archive(sent)
        return _create(document_in(archive), bodies_in(archive), actor=actor)


def document_in(archive: Archive) -> Document:
    """Raises BadRequest."""
    return parse(archive.document(), DOCUMENT)


def parse(raw: bytes, name: str) -> Document:
    """The document in the bytes of a file. Raises BadRequest."""
    try:
        data = parsers.parse(raw)
    except BadRequest as error:
        raise BadRequest(f"{name}: {error.detail}") from None
    return documents.read(data)


def bodies_in(archive: Archive) -> Bodies:
    return {sha256: _reader(archive, sha256) for sha256 in archive.digests}


def _reader(archive: Archive, sha256: str) -> Callable[[], bytes]:
    return lambda: archive.read(sha256)


def _create(document: Document, bodies: Bodies, *, actor: Caller) -> Bot:
    refuse_extra(document, bodies)
    own = BotFile.objects.filter(bot__owner=actor.user_id)
    refuse_missing(document, bodies, own_sizes(own, document))
    first = content.imported(document.sent, document.files)
    store(document, bodies)
    values = {"allow_cloning": document.allow_cloning}
    with editing.one_more_bot(actor):
        return editing.insert(new_id(), first, verbs.IMPORT, values, allow_cloning=document.allow_cloning, actor=actor)


# ---- Files ----------------------------------------------------------------------------------------------------------


def own_sizes(rows: Any, document: Document) -> dict[str, int]:
    """SHA-256 → bytes of those files of a document that are among these rows of BotFile."""
    digests = {entry["sha256"] for entry in document.files.values()}
    return dict(rows.filter(sha256__in=digests).values_list("sha256", "size")) if digests else {}


def refuse_extra(document: Document, bodies: Iterable[str]) -> None:
    """Raises BadRequest for bytes that the document does not name."""
    named = {entry["sha256"] for entry in document.files.values()}
    for sha256 in bodies:
        if sha256 not in named:
            raise BadRequest(f"files/{sha256}: the bot has no file of this digest.")


def refuse_missing(document: Document, bodies: Bodies, own: Mapping[str, int]) -> None:
    """Raises BadRequest for a file whose bytes are neither sent nor stored already."""
    for index, (name, entry) in enumerate(document.files.items()):
        sha256 = entry["sha256"]
        if sha256 in bodies:
            continue
        if sha256 not in own:
            raise invalid(f"bot.files.{index}: the bytes of {name} are not here; export the bot with its files.")
        _refuse_size(f"bot.files.{index}", own[sha256], entry)


def store(document: Document, bodies: Bodies) -> None:
    """Puts the bytes into storage, one file after the other. Call it outside any transaction.

    Raises BadRequest for bytes that are not what the document says. What was stored before is garbage then, which goes
    as that of any transaction that failed.
    """
    stored: set[str] = set()
    for index, entry in enumerate(document.files.values()):
        sha256 = entry["sha256"]
        if sha256 in bodies and sha256 not in stored:
            storing.store({sha256: checked(index, entry, bodies)})
            stored.add(sha256)


def checked(index: int, entry: FileEntry, bodies: Bodies) -> bytes:
    """A file's bytes. Raises BadRequest if they are not what the document says."""
    sha256 = entry["sha256"]
    body = bodies[sha256]()
    if (digest := storing.digest(body)) != sha256:
        raise BadRequest(f"files/{sha256}: these bytes have another digest, {digest}.")
    _refuse_size(f"bot.files.{index}", len(body), entry)
    return body


def _refuse_size(place: str, size: int, entry: FileEntry) -> None:
    if size != entry["size"]:
        raise invalid(f"{place}.size: the file has {size} bytes.")

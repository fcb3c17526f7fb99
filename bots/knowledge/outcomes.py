"""What came of a document: its row, an edition where its text is new, and the documents that it leads to.

All of it is called within a slice's `writing`, but for `take_back`, which is a transaction of its own.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db.models import F, Q

from bedrock_chat.blobs import storing
from bots.knowledge import deleting, editions, measuring, status
from bots.knowledge.models import LONGEST_LOCATION, LONGEST_REASON, Document, Source, SourceKind
from bots.knowledge.planning import SYNCS_FAILED
from bots.knowledge.reaching import NOTHING_KNOWN_OF_IT, reach, rows
from bots.knowledge.reading.pages import Reading
from bots.knowledge.slices import Slice
from bots.knowledge.sources import crawling
from bots.knowledge.sources.locations import Discovered, Fetched, Location, SourceFault
from bots.knowledge.states import Blame, DocumentState


@dataclass(frozen=True, slots=True)
class Arrived:
    """A document that was fetched and read. `reading` is None where it is as it was; `sentence` says why it could not
    be read, and `blame` whose fault that is. `scanned` is what was read of a file some of whose pages a model shall
    read, which is still there.
    """

    fetched: Fetched
    discovered: Discovered
    reading: Reading | None
    kept: bytes = b""
    sentence: str = ""
    blame: Blame = Blame.SOURCE
    scanned: Reading | None = None


def is_unchanged(slice_: Slice, document: Document, arrived: Arrived) -> bool:
    """Whether a document is what it was, where it was, so that nothing of its row changes but when it was fetched."""
    own = arrived.discovered.location
    return (
        not is_newly_followed(slice_, document)
        and arrived.fetched.is_unchanged
        and arrived.reading is None
        and not arrived.sentence
        and arrived.discovered.is_kept
        and own.location == document.location
        and own.link[:LONGEST_LOCATION] in ("", document.link)
    )


def write_unchanged(slice_: Slice, documents: Sequence[Document]) -> None:
    """Documents that are as they were and are found so: in two statements, whatever their number."""
    anew = [document.pk for document in documents if is_newly_followed(slice_, document)]
    keys = [document.pk for document in documents if document.pk not in anew]
    unchanged = Document.objects.filter(pk__in=keys).exclude(state=DocumentState.REMOVED)
    unchanged.update(state=DocumentState.READY, **_read_in(slice_))
    Document.objects.filter(pk__in=anew).update(attempts=0, fetched=0, **NOTHING_KNOWN_OF_IT)
    slice_.moved()
    for _ in keys:
        measuring.count("unchanged")


def _read_in(slice_: Slice) -> dict[str, Any]:
    """The columns of a document that this sync has read, or found as it was."""
    return {"attempts": 0, "failures": 0, "fetched": slice_.sync, "is_urgent": False, "reason": "", "blame": ""}


def write(slice_: Slice, document: Document, arrived: Arrived, links: Sequence[Location]) -> DocumentState:
    """The document's row, an edition where its text is new, and what it leads to. Nothing of one that was taken out of
    reach while it was read: who does that changes the bot. Returns its state.
    """
    if slice_.gives_way and not rows(slice_.pk).filter(pk=document.pk, source__is_removed=False).exists():
        return DocumentState.REMOVED
    fetched, discovered = arrived.fetched, arrived.discovered
    reach(slice_, document.source, links)
    if arrived.sentence:
        return fail(slice_, document, arrived.sentence, arrived.blame)
    if not discovered.is_kept or not _is_named(slice_, document, discovered):
        if _is_seed(document) and crawling.shares(slice_.web, document.location, discovered):
            Source.objects.filter(pk=document.source_id).update(listing={status.SHARED: True})
        return skip(slice_, document)
    columns = _read_in(slice_)
    if not fetched.is_unchanged:
        columns |= {"etag": fetched.etag[:512], "last_modified": fetched.last_modified[:128], "digest": fetched.digest}
    if discovered.location.link:
        columns["link"] = discovered.location.link[:LONGEST_LOCATION]
    reading = arrived.reading
    measuring.count("unchanged" if reading is None else "read")
    if reading is None:
        state = editions.state_of_kept(slice_, document)
    else:
        columns |= {"note": reading.note[:LONGEST_REASON], "pages": len(reading.pages)}
        state = editions.keep(
            slice_,
            document,
            text=storing.digest(arrived.kept),
            text_digest=digest_of(reading),
            body=fetched.digest if document.source.kind == SourceKind.FILE else "",
            title=reading.title or document.name,
            pages=len(reading.pages),
        )
    if is_newly_followed(slice_, document):  # links that it leads to were not looked at
        columns |= {"fetched": 0, **NOTHING_KNOWN_OF_IT}
    Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).update(state=state, **columns)
    return state


def is_newly_followed(slice_: Slice, document: Document) -> bool:
    """Whether the links of a page are followed since it was begun: it is fetched once more, for their sake."""
    return document.pk in slice_.newly_followed and not document.leads_on


def digest_of(reading: Reading) -> str:
    """SHA-256 of what was read, whatever it links to."""
    texts = [reading.title, *((page.number, page.name, page.text) for page in reading.pages)]
    return hashlib.sha256(orjson.dumps(texts)).hexdigest()


def _is_named(slice_: Slice, document: Document, discovered: Discovered) -> bool:
    """Whether the document is what it says that it is. Where it names another address of itself, that is the document,
    and is read instead, unless it leads back here.
    """
    named = discovered.location
    if named.location == document.location:
        return True
    other = rows(slice_.pk).filter(location=named.location).first()
    if other is not None and other.state == DocumentState.SKIPPED and other.fetched == slice_.sync:
        return True
    reach(slice_, document.source, [named])
    return False


def skip(slice_: Slice, document: Document) -> DocumentState:
    """The document is none of its own. What was read of it before cannot be found any more."""
    measuring.count("skipped")
    Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).update(
        state=DocumentState.SKIPPED,
        attempts=0,
        failures=0,
        fetched=slice_.sync,
        reason="",
        blame="",
        etag="",
        digest="",
    )
    deleting.hide_editions(slice_.pk, Q(document=document.pk))
    return DocumentState.SKIPPED


def heed(slice_: Slice, document: Document, fault: SourceFault, links: Sequence[Location]) -> DocumentState:
    """Why there is nothing to be read. Returns the document's state."""
    if fault.is_skipped or (fault.is_gone and not _is_seed(document)):
        return skip(slice_, document)
    reach(slice_, document.source, links)
    return fail(slice_, document, fault.sentence, fault.blame, is_gone=fault.is_gone)


def _is_seed(document: Document) -> bool:
    """Whether the bot names this page itself, so that its owner has to hear of it."""
    try:
        return document.source.kind == SourceKind.WEB and (
            crawling.address_of(document.source.location) == document.location
        )
    except SourceFault:
        return False


def fail(slice_: Slice, document: Document, sentence: str, blame: Blame, *, is_gone: bool = False) -> DocumentState:
    """The document is found as it was before, until it has failed in three syncs in a row, or is gone."""
    measuring.count("failed")
    failures = SYNCS_FAILED if is_gone else document.failures + 1
    is_making = failures < SYNCS_FAILED and editions.state_of_kept(slice_, document) == DocumentState.READ
    state = DocumentState.READ if is_making and editions.newest_kept(document) else DocumentState.FAILED
    Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).update(
        state=state,
        reason=sentence[:LONGEST_REASON],
        blame=blame,
        attempts=0,
        failures=failures,
        fetched=slice_.sync,
    )
    if failures >= SYNCS_FAILED:
        deleting.hide_editions(slice_.pk, Q(document=document.pk))
    return state


def take_back(slice_: Slice, document: Document) -> None:
    """The attempt was cut off by ourselves."""
    with slice_.writing():
        Document.objects.filter(pk=document.pk, attempts__gt=0).update(attempts=F("attempts") - 1)

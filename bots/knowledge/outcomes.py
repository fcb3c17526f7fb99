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
from bots.knowledge import deleting, editions, measuring
from bots.knowledge.models import LONGEST_LOCATION, LONGEST_REASON, Document, SourceKind
from bots.knowledge.planning import SYNCS_FAILED
from bots.knowledge.reaching import reach, rows
from bots.knowledge.reading.pages import Reading
from bots.knowledge.slices import Slice
from bots.knowledge.sources import crawling
from bots.knowledge.sources.locations import Discovered, Fetched, Location, SourceFault
from bots.knowledge.states import DocumentState


@dataclass(frozen=True, slots=True)
class Arrived:
    """A document that was fetched and read. `reading` is None where it is as it was; `sentence` says why it could not
    be read. `scanned` is what was read of a file some of whose pages a model shall read, which is still there.
    """

    fetched: Fetched
    discovered: Discovered
    reading: Reading | None
    kept: bytes = b""
    sentence: str = ""
    scanned: Reading | None = None


def write(slice_: Slice, document: Document, arrived: Arrived, links: Sequence[Location]) -> None:
    """The document's row, an edition where its text is new, and what it leads to. Nothing of one that was taken out of
    reach while it was read.
    """
    if not rows(slice_.pk).filter(pk=document.pk, source__is_removed=False).exists():
        return
    fetched, discovered = arrived.fetched, arrived.discovered
    reach(slice_, document.source, links)
    if arrived.sentence:
        fail(slice_, document, arrived.sentence)
        return
    if not discovered.is_kept or not _is_named(slice_, document, discovered):
        skip(slice_, document)
        return
    columns: dict[str, Any] = {"attempts": 0, "failures": 0, "fetched": slice_.sync, "is_urgent": False, "reason": ""}
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
    Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).update(state=state, **columns)


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


def skip(slice_: Slice, document: Document) -> None:
    """The document is none of its own. What was read of it before cannot be found any more."""
    measuring.count("skipped")
    Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).update(
        state=DocumentState.SKIPPED, attempts=0, failures=0, fetched=slice_.sync, reason="", etag="", digest=""
    )
    deleting.hide_editions(slice_.pk, Q(document=document.pk))


def heed(slice_: Slice, document: Document, fault: SourceFault, links: Sequence[Location]) -> None:
    """Why there is nothing to be read."""
    if fault.is_skipped:
        skip(slice_, document)
        return
    if fault.is_gone and not _is_seed(document):
        skip(slice_, document)
        return
    reach(slice_, document.source, links)
    fail(slice_, document, fault.sentence, is_gone=fault.is_gone)


def _is_seed(document: Document) -> bool:
    """Whether the bot names this page itself, so that its owner has to hear of it."""
    try:
        return document.source.kind == SourceKind.WEB and (
            crawling.address_of(document.source.location) == document.location
        )
    except SourceFault:
        return False


def fail(slice_: Slice, document: Document, sentence: str, *, is_gone: bool = False) -> None:
    """The document is found as it was before, until it has failed in three syncs in a row, or is gone."""
    measuring.count("failed")
    failures = SYNCS_FAILED if is_gone else document.failures + 1
    is_making = failures < SYNCS_FAILED and editions.state_of_kept(slice_, document) == DocumentState.READ
    Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).update(
        state=DocumentState.READ if is_making and editions.newest_kept(document) else DocumentState.FAILED,
        reason=sentence[:LONGEST_REASON],
        attempts=0,
        failures=failures,
        fetched=slice_.sync,
    )
    if failures >= SYNCS_FAILED:
        deleting.hide_editions(slice_.pk, Q(document=document.pk))


def take_back(slice_: Slice, document: Document) -> None:
    """The attempt was cut off by ourselves."""
    with slice_.writing():
        Document.objects.filter(pk=document.pk, attempts__gt=0).update(attempts=F("attempts") - 1)

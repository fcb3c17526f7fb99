"""A document's way into a bot's knowledge: fetched, read, its text kept; what a page leads to is reached.

An attempt is committed before the document is touched (`attempts`), and taken back when it was read.
"""

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from bedrock_chat.blobs import storing
from bedrock_chat.process.interruption import Interrupted
from bedrock_chat.resilience.disk_space import is_of_disk
from bedrock_chat.wire.errors import ServiceUnavailable
from bots.knowledge import away, editions, faults, measuring, outcomes, page_texts
from bots.knowledge.attempts import Attempt, Attempts
from bots.knowledge.hosts import HostBusy, Hosts, Place
from bots.knowledge.lanes import Errand, Work
from bots.knowledge.models import Document, SourceKind
from bots.knowledge.outcomes import Arrived
from bots.knowledge.reaching import reach_most, rows
from bots.knowledge.reading import pages, readers
from bots.knowledge.reading.pages import Reading, Unreadable
from bots.knowledge.slices import Slice
from bots.knowledge.sources import crawling, fetching, s3, uploads
from bots.knowledge.sources.locations import NOTHING_KNOWN, Discovered, Fetched, Known, Location, SourceFault
from bots.knowledge.states import Blame, DocumentState

FAULT: Final = f"It could not be read {faults.OF_THIS_SERVER}"
NOTHING: Final = (False, None)
"""Of a fetch: there is nothing to be made findable."""


def bring_on(
    slice_: Slice,
    hosts: Hosts,
    attempts: Attempts,
    pk: int,
    site: str,
    wait: float | None,
    following: Sequence[int] = (),
) -> Work:
    """Fetches a document in so many seconds, if `wait` tells them, and makes what was read findable. `site` is the
    beginning of its address, if that is of the web.

    A turn and a place of its host were taken then, and `following` are documents that will be fetched next. A fault of
    this server fails this document alone; a storage or a disk that is away fails no document (`away`).
    """
    place = Place(site) if wait is not None and site else None
    document: Document | None = None
    is_fetching = wait is not None
    try:
        if wait is None:
            document = rows(slice_.pk).filter(pk=pk, state=DocumentState.READ).first()
            is_read, reading = document is not None, None
        else:
            is_read, reading = False, None
            if pk not in attempts:
                attempts.count(pk, rows(slice_.pk).filter(pk__in=[pk, *following]))
            attempt = attempts.begin(pk)
            if attempt is not None:
                document = attempt.document
                is_read, reading = yield from _fetch(slice_, hosts, attempts, attempt, place, wait)
        is_fetching = False
        if document is not None and is_read and not slice_.is_over:
            yield from editions.make(slice_, document, reading)
    except (Interrupted, ServiceUnavailable) as end:
        if isinstance(end, ServiceUnavailable):
            away.wait(slice_, away.STORAGE_AWAY, document.name if document else "")
        if document is not None and is_fetching:
            outcomes.take_back(slice_, document)
    except Exception as error:
        if document is None or faults.ends_slice(error):
            raise
        faults.log(slice_.pk, error)
        if is_of_disk(error):
            away.wait(slice_, away.DISK_AWAY, document.name)
            if is_fetching:
                outcomes.take_back(slice_, document)
            return
        with slice_.writing():
            (outcomes.fail if is_fetching else editions.fail)(slice_, document, FAULT, Blame.OPERATOR)
    finally:
        if place is not None:
            place.leave()


def is_of_web(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def _location(slice_: Slice, document: Document) -> Location:
    """Raises SourceFault."""
    if document.location.startswith(uploads.PREFIX):
        name = document.location.removeprefix(uploads.PREFIX)
        entry = slice_.settings.files.get(name)
        if entry is None:
            raise SourceFault("This file is not there any more; upload it again.", blame=Blame.OWNER)
        return uploads.location(name, entry)
    if is_of_web(document.location):
        is_listed = document.source.kind == SourceKind.SITEMAP
        return crawling.location(document.location, slice_.web, is_listed=is_listed)
    return s3.location(document.location, etag=document.hint, size=document.size)


# ---- Fetching -------------------------------------------------------------------------------------------------------


def _fetch(
    slice_: Slice, hosts: Hosts, attempts: Attempts, attempt: Attempt, place: Place | None, wait: float
) -> Generator[Errand, Any, tuple[bool, Reading | None]]:
    """Fetches and reads, and writes what came of it. Returns whether a text is to be made findable, and the reading of
    it, if it is a new one.
    """
    document = attempt.document
    links: Sequence[Location]
    if attempt.is_given_up:
        with slice_.writing():
            outcomes.fail(slice_, document, faults.WORKER_LOST, Blame.OPERATOR)
        return NOTHING
    try:
        location = _location(slice_, document)
        arrived: Arrived = yield partial(_arrive, slice_, location, attempt.known, attempt.kept_name, wait)
        if place is not None:
            place.leave()
        if arrived.scanned is not None:
            arrived = yield from _with_page_texts(slice_, document, arrived, arrived.scanned)
        links = reach_most(slice_, document.source, arrived.discovered.locations)
    except Interrupted as end:
        if isinstance(end, HostBusy):
            hosts.turn_back(document.location, end.seconds)
        outcomes.take_back(slice_, document)
        return NOTHING
    except SourceFault as fault:
        if fault.retry_after is not None and is_of_web(document.location):
            hosts.postpone(document.location, fault.retry_after)
        links = () if fault.is_gone else (yield from _kept_links(slice_, document, attempt.kept_name))
        try:
            links = reach_most(slice_, document.source, links)
        except Interrupted:
            outcomes.take_back(slice_, document)
            return NOTHING
        with slice_.writing():
            return outcomes.heed(slice_, document, fault, links) == DocumentState.READ, None
    if attempt.is_found and outcomes.is_unchanged(slice_, document, arrived):
        attempts.note_unchanged(attempt, links)
        return NOTHING
    if arrived.kept:
        storing.store({storing.digest(arrived.kept): arrived.kept})
    with slice_.writing():
        state = outcomes.write(slice_, document, arrived, links)
        slice_.moved()
    return state == DocumentState.READ, arrived.reading


def _arrive(slice_: Slice, location: Location, known: Known, kept_name: str, wait: float) -> Arrived:
    """On a thread: fetches and reads. Raises SourceFault, also for a fault of this server, Interrupted, and
    ServiceUnavailable or OSError where a storage or a disk is away.
    """
    try:
        return _read(slice_, location, known, kept_name, wait)
    except (SourceFault, Interrupted, ServiceUnavailable):
        raise
    except Exception as error:
        if is_of_disk(error):
            raise
        faults.log(slice_.pk, error)
        raise SourceFault(FAULT, blame=Blame.OPERATOR) from error


def _read(slice_: Slice, location: Location, known: Known, kept_name: str, wait: float) -> Arrived:
    """Raises SourceFault and Interrupted, and whatever is this server's own fault.

    A page whose kept text is lost is fetched as if it were new. Nobody is asked while the storage is away.
    """
    interruption = slice_.interruption
    if interruption.wait(wait):
        raise Interrupted
    kept = editions.load_if_kept(kept_name) if location.kind == "web" and kept_name else Reading(())
    known = NOTHING_KNOWN if kept is None else known
    with measuring.measured("fetch"):
        fetched = fetching.fetch(location, known, slice_.context)
    scanned: Reading | None = None
    try:
        is_same = fetched.is_unchanged or (bool(known.digest) and fetched.digest == known.digest)
        if is_same and kept is not None:
            return Arrived(fetched, crawling.discovered(slice_.web, fetched, kept), None)
        try:
            reading = _read_file(slice_, fetched)
        except Unreadable as unreadable:
            discovered = crawling.discovered(slice_.web, fetched, unreadable.reading)
            scanned = _scanned(slice_, discovered, unreadable.reading)
            return Arrived(fetched, discovered, None, sentence=unreadable.sentence, scanned=scanned)
        discovered = crawling.discovered(slice_.web, fetched, reading)
        reading = crawling.kept(fetched, reading)
        scanned = _scanned(slice_, discovered, reading)
        return Arrived(
            fetched, discovered, reading, pages.dump(reading) if discovered.is_kept else b"", scanned=scanned
        )
    finally:
        if scanned is None:
            _forget_file(fetched)


def _read_file(slice_: Slice, fetched: Fetched) -> Reading:
    """Raises Unreadable and Interrupted."""
    with measuring.measured("read"):
        return readers.shared(settings.KNOWLEDGE_READERS).read(
            str(fetched.path),
            fetched.kind,
            media_type=fetched.media_type,
            charset=fetched.charset,
            url=fetched.final_url,
            most_characters=settings.KNOWLEDGE_MAX_CHARACTERS,
            most_pages=settings.KNOWLEDGE_MAX_PAGES,
            interruption=slice_.interruption,
        )


def _scanned(slice_: Slice, discovered: Discovered, reading: Reading) -> Reading | None:
    """What was read, if a model shall read the pages that hold no text."""
    has_model = bool(slice_.settings.parsing_model)
    return reading if has_model and discovered.is_kept and reading.empty_pages else None


def _with_page_texts(
    slice_: Slice, document: Document, arrived: Arrived, scanned: Reading
) -> Generator[Errand, Any, Arrived]:
    """The document with what its pages without text show. Raises Interrupted."""
    try:
        fetched = arrived.fetched
        reading = yield from page_texts.complete(slice_, document, str(fetched.path), fetched.digest, scanned)
    except Unreadable as unreadable:  # what was read without the model stays
        blame = Blame.OPERATOR if unreadable.is_of_server else Blame.SOURCE
        return replace(arrived, scanned=None, sentence=unreadable.sentence if arrived.sentence else "", blame=blame)
    finally:
        _forget_file(arrived.fetched)
    if not reading.pages:
        return replace(arrived, scanned=None, sentence=page_texts.sentence_of(reading))
    kept: bytes = yield partial(pages.dump, reading)
    return replace(arrived, scanned=None, sentence="", reading=reading, kept=kept)


def _forget_file(fetched: Fetched) -> None:
    if fetched.path is not None:
        with contextlib.suppress(FileNotFoundError):
            Path(fetched.path).unlink()


def _kept_links(slice_: Slice, document: Document, kept_name: str) -> Generator[Errand, Any, tuple[Location, ...]]:
    """What a page that cannot be fetched now has led to before."""
    if not kept_name or not is_of_web(document.location):
        return ()

    def links() -> tuple[Location, ...]:
        kept = editions.load_if_kept(kept_name)
        try:
            location = _location(slice_, document)
            fetched = Fetched(location, None, final_url=document.location, is_unchanged=True)
            return () if kept is None else crawling.discovered(slice_.web, fetched, kept).locations
        except SourceFault:
            return ()

    locations: tuple[Location, ...] = yield links
    return locations

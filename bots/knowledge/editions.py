"""From a kept text to chunks that are found: cut, embedded, written out of sight a batch at a time, then shown at once.

Everything that is written is a row, and the counters of an edition say how far it is. So an edition that a slice has
left goes on in the next one, whatever ended the slice.
"""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, Final

from django.core.files.storage import default_storage
from django.db.models import F

from bedrock_chat.blobs import storing
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.connections import database_now
from bedrock_chat.process.interruption import Interrupted
from bedrock_chat.resilience.disk_space import is_of_disk
from bedrock_chat.search.passages import indexing
from bedrock_chat.search.vectors import writing as vectors
from bots.knowledge import batches, chunking, meaning, measuring
from bots.knowledge.deleting import BLOB_OWNER
from bots.knowledge.lanes import Errand, Work
from bots.knowledge.models import LONGEST_NAME, LONGEST_REASON, Chunk, Document, Edition, KnowledgeIndex
from bots.knowledge.reading import pages
from bots.knowledge.reading.pages import Reading
from bots.knowledge.slices import LONG_PAUSES, Slice
from bots.knowledge.states import Blame, DocumentState, EditionState

NO_TEXT: Final = "It holds no text."
MOST_CHUNKS: Final = 20_000
"""Of one document, which is cut anew in each slice. 2,000,000 characters make 1,700 by default, Japanese 4,500."""
WORDS_AT_ONCE: Final = 96
"""Chunks whose words are counted on a thread at a time."""


# ---- Kept texts (within `writing`) ----------------------------------------------------------------------------------


def keep(
    slice_: Slice,
    document: Document,
    *,
    text: str,
    text_digest: str,
    body: str,
    title: str,
    pages: int,
) -> DocumentState:
    """A text was read, and its blob is stored. Makes an edition of it, unless there is one that says the same."""
    title = title[:LONGEST_NAME]
    same = {"text_digest": text_digest, "title": title, "cut": slice_.settings.cut.digest}
    mine = Edition.objects.filter(document=document, index=slice_.index).exclude(state=EditionState.REMOVED)
    for edition in mine.filter(**same).order_by("state"):  # a live one comes before one in the making
        if (edition.text, edition.body) != (text, body):  # it leads elsewhere now, or is another file
            storing.forget(BLOB_OWNER, [edition.pk])
            storing.refer(BLOB_OWNER, edition.pk, {text, body} - {""})
        columns = {"text": text, "body": body, "parsing_model": slice_.settings.parsing_model}
        Edition.objects.filter(pk=edition.pk).update(**columns)
        if edition.state == EditionState.LIVE:
            _give_up_making(slice_, document)  # of a text that the document has had meanwhile
            return DocumentState.READY
        return DocumentState.READ
    _begin(slice_, document, text=text, text_digest=text_digest, body=body, title=title, pages=pages)
    Document.objects.filter(pk=document.pk).update(version=F("version") + 1)
    return DocumentState.READ


def _begin(
    slice_: Slice, document: Document, *, text: str, text_digest: str, body: str, title: str, pages: int
) -> Edition:
    """Makes the document's edition in the making, in place of one that there may be."""
    _give_up_making(slice_, document)
    edition = Edition.objects.create(
        document=document,
        index=slice_.index,
        text=text,
        text_digest=text_digest,
        body=body,
        cut=slice_.settings.cut.digest,
        parsing_model=slice_.settings.parsing_model,
        title=title,
        pages=pages,
        created_at=database_now(),
    )
    storing.refer(BLOB_OWNER, edition.pk, {text, body} - {""})
    return edition


def state_of_kept(slice_: Slice, document: Document) -> DocumentState:
    """READY where what was read of the document last is found in the slice's index, cut as it shall be; else READ.

    What is found may say something else: its successor is in the making then.
    """
    newest = newest_kept(document)
    if newest is None:
        return DocumentState.READ
    same = {"text_digest": newest.text_digest, "title": newest.title, "cut": slice_.settings.cut.digest}
    if not Edition.objects.live(slice_.index.pk).filter(document=document, **same).exists():
        return DocumentState.READ
    _give_up_making(slice_, document)
    return DocumentState.READY


def newest_kept(document: Document) -> Edition | None:
    """The edition that has the text which was read last: `keep` leaves none that is newer and says something else."""
    return Edition.objects.filter(document=document).exclude(state=EditionState.REMOVED).order_by("-pk").first()


def _give_up_making(slice_: Slice, document: Document) -> None:
    """What is in the making of the document is not wanted any more."""
    making = Edition.objects.filter(document=document, index=slice_.index, state=EditionState.MAKING)
    making.update(state=EditionState.REMOVED)


# ---- Making it findable ---------------------------------------------------------------------------------------------


def make(slice_: Slice, document: Document, reading: Reading | None) -> Work:
    """Makes what is kept of a document findable, or goes on with it. `reading`: the kept text, where it is at hand."""
    of_document = {"document_id": document.pk, "index_id": slice_.index.pk, "state": EditionState.MAKING}
    edition = compiled_sql.get(Edition, {**of_document, "cut": slice_.settings.cut.digest})
    if edition is None:
        with slice_.writing():
            edition = _in_the_making(slice_, document)
    if edition is None:
        return
    if reading is None:
        name = storing.locate([edition.text]).get(edition.text)
        reading = (yield partial(load_if_kept, name)) if name else None
    if reading is None:
        with slice_.writing():
            _fetch_again(document, edition)
        return
    try:
        chunks = yield from _cut(slice_, document, edition, reading)
    except Interrupted:
        return
    except meaning.Refused as refused:
        with slice_.writing():
            fail(slice_, document, refused.sentence, Blame.SOURCE)
        return
    except meaning.CutOtherwise:
        with slice_.writing():
            _begin_like(slice_, document, edition)
        yield from make(slice_, document, reading)
        return
    if chunks is None:
        return
    former = Edition.objects.live(slice_.index.pk).filter(document=document).values_list("findable", flat=True)
    more = sum(not chunk.is_parent for chunk in chunks) - sum(former)
    with slice_.making(more) as has_room:
        if has_room:
            yield from _write(slice_, document, edition, chunks)


def _write(slice_: Slice, document: Document, edition: Edition, chunks: Sequence[chunking.Chunk]) -> Work:
    """Writes what is not written yet, and shows the edition when it is whole."""
    refusal = NO_TEXT if not chunks else (yield from batches.write_all(slice_, document, edition, chunks))
    if refusal:
        with slice_.writing():
            fail(slice_, document, refusal, Blame.SOURCE)
        return
    edition.refresh_from_db()
    is_whole = edition.taken == len(chunks) and not Chunk.objects.filter(edition=edition, is_pending=True).exists()
    if is_whole and (yield from _index_words(slice_, edition)):
        publish(slice_, document, edition)


def load_if_kept(name: str) -> Reading | None:
    """On a thread: a kept text, or None where it is lost. Raises OSError and ServiceUnavailable where storage is away:
    then nobody knows.
    """
    try:
        return load(name)
    except (OSError, ValueError) as error:
        if is_of_disk(error):
            raise
        return None


def load(name: str) -> Reading:
    """On a thread: a kept text. Raises OSError and ValueError."""
    with default_storage.open(name) as file:
        return pages.load(file.read())


def _in_the_making(slice_: Slice, document: Document) -> Edition | None:
    """Within `writing`: the edition to be made, from the newest kept text. None: there is nothing to do."""
    cut = slice_.settings.cut.digest
    editions = Edition.objects.filter(document=document).exclude(state=EditionState.REMOVED)
    making = editions.filter(index=slice_.index, state=EditionState.MAKING).first()
    if making is not None and making.cut == cut:
        return making
    kept = newest_kept(document)
    if kept is None or (kept.index_id == slice_.index.pk and kept.cut == cut and kept.state == EditionState.LIVE):
        state = DocumentState.READY if kept is not None else DocumentState.WAITING
        _settle(document, state)
        return None
    return _begin_like(slice_, document, kept)


def _begin_like(slice_: Slice, document: Document, kept: Edition) -> Edition:
    """Within `writing`: begins a text anew that is kept."""
    return _begin(
        slice_,
        document,
        text=kept.text,
        text_digest=kept.text_digest,
        body=kept.body,
        title=kept.title,
        pages=kept.pages,
    )


def _settle(document: Document, state: DocumentState) -> None:
    """Within `writing`: a document that was to be made findable is it, or has failed in other ways."""
    is_read = {"pk": document.pk, "state": DocumentState.READ}
    if not compiled_sql.update(Document, {**is_read, "reason": ""}, state=state):
        compiled_sql.update(Document, is_read, state=DocumentState.FAILED)


def _fetch_again(document: Document, edition: Edition) -> None:
    """Within `writing`: the kept text is lost. The next slice fetches and reads the document anew."""
    Edition.objects.filter(pk=edition.pk).update(state=EditionState.REMOVED)
    Document.objects.filter(pk=document.pk, state=DocumentState.READ).update(
        state=DocumentState.WAITING, fetched=0, etag="", last_modified="", digest=""
    )


def fail(slice_: Slice, document: Document, sentence: str, blame: Blame) -> None:
    """Within `writing`: nothing can be found of what was read. What was found before stays, but is not what was read
    last, so that the next sync reads the document anew.
    """
    measuring.count("failed")
    _give_up_making(slice_, document)
    Document.objects.filter(pk=document.pk, state=DocumentState.READ).update(
        state=DocumentState.FAILED,
        reason=sentence[:LONGEST_REASON],
        blame=blame,
        etag="",
        last_modified="",
        digest="",
    )


def _cut(
    slice_: Slice, document: Document, edition: Edition, reading: Reading
) -> Generator[Errand, Any, list[chunking.Chunk] | None]:
    """The chunks; None where the slice ends before they are known. Raises Interrupted, Refused and CutOtherwise."""
    cut = slice_.settings.cut
    number: int = yield partial(chunking.least_chunks, reading, cut)
    if number > MOST_CHUNKS:
        raise meaning.Refused(
            f"It would be cut into over {number:,} passages, of at most {MOST_CHUNKS:,}; cut it larger."
        )
    distances: chunking.Distances | None = None
    if cut.strategy == "semantic":
        breaks = yield from meaning.measure(slice_, document, edition, reading)
        if breaks is None:
            return None
        distances = lambda _: breaks  # noqa: E731  what was measured of these sentences

    def chunks_of_reading() -> list[chunking.Chunk]:
        with measuring.measured("cut"):
            return chunking.cut(reading, cut, title=edition.title, distances=distances)

    chunks: list[chunking.Chunk] = yield chunks_of_reading
    if edition.taken > len(chunks):
        raise meaning.CutOtherwise
    return chunks


# ---- Words ----------------------------------------------------------------------------------------------------------


def _index_words(slice_: Slice, edition: Edition) -> Generator[Errand, Any, bool]:
    """Indexes the words of all chunks, a few in a transaction. Returns whether that is done."""
    children = Chunk.objects.filter(edition=edition, is_parent=False).order_by("position")
    while edition.worded < edition.findable:
        if slice_.is_called_off:
            return False
        rows = children.values_list("pk", "header", "text")[edition.worded : edition.worded + WORDS_AT_ONCE]
        passages = [(pk, f"{header}\n\n{text}" if header else text) for pk, header, text in rows]
        prepared = yield partial(indexing.prepare, passages)
        for part in prepared.parts():
            with slice_.writing(pauses=LONG_PAUSES):
                if not _is_making(edition):
                    return False
                indexing.write(slice_.pk, edition.pk, part)
                edition.worded += len(part.passages)
                compiled_sql.update(Edition, {"pk": edition.pk}, worded=edition.worded)
                slice_.moved()
        if slice_.is_cut_off:  # asked here, so that each slice indexes some
            break
    return edition.worded >= edition.findable


def _is_making(edition: Edition) -> bool:
    """Within `writing`: whether nothing has taken the edition out of reach."""
    return bool(compiled_sql.select(Edition, ("id",), {"pk": edition.pk, "state": EditionState.MAKING}))


# ---- In sight -------------------------------------------------------------------------------------------------------


def publish(slice_: Slice, document: Document, edition: Edition) -> None:
    """Shows a whole edition in place of the one before it: few rows, whatever its size."""
    with slice_.writing():
        vectors.join(slice_.index.pk, edition.pk)
    with measuring.measured("show"), slice_.writing():
        if not _is_making(edition):
            return
        old = Edition.objects.live(slice_.index.pk).filter(document=document)
        former = dict(old.values_list("pk", "findable"))
        if former:
            old.update(state=EditionState.REMOVED)
        compiled_sql.update(Edition, {"pk": edition.pk}, state=EditionState.LIVE)
        vectors.publish(slice_.index.pk, show=[edition.pk], hide=list(former))
        more = edition.findable - sum(former.values())
        compiled_sql.update(KnowledgeIndex, {"pk": slice_.index.pk}, {"chunks": more})
        _settle(document, DocumentState.READY)
        slice_.moved()
    measuring.count("shown")

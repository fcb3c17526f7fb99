"""The chunks of an edition, a batch at a time: vectors of equal chunks are taken over, the others are paid for, and all
that was paid is written with its row of the ledger.
"""

from collections.abc import Generator, Sequence
from typing import Any, Final

from bedrock_chat.blobs import storing
from bedrock_chat.database import compiled_sql
from bedrock_chat.search.vectors import writing as vectors
from bots.knowledge import embedding
from bots.knowledge.chunking import Chunk as CutChunk
from bots.knowledge.embedding import Paid, Piece
from bots.knowledge.lanes import Errand
from bots.knowledge.models import Chunk, Document, Edition, Knowledge
from bots.knowledge.slices import LONG_PAUSES, Slice
from bots.knowledge.states import EditionState

AT_ONCE: Final = 96
"""Chunks of a batch, parents too."""


def write_all(
    slice_: Slice, document: Document, edition: Edition, chunks: Sequence[CutChunk]
) -> Generator[Errand, Any, str]:
    """Writes the chunks that are not written yet, with their vectors, until the slice is over. Returns why the model
    takes one of them in no way, or nothing.
    """
    while not (slice_.has_ended or slice_.is_called_off):
        pending = list(Chunk.objects.filter(edition=edition, is_pending=True).order_by("position")[:AT_ONCE])
        batch = () if pending else chunks[edition.taken : edition.taken + AT_ONCE]
        if not pending and not batch:
            return ""
        both: tuple[Chunk | CutChunk, ...] = (*pending, *batch)
        wanted = {chunk.digest: (chunk.header, chunk.text) for chunk in both if not chunk.is_parent}
        known = _known(slice_, list(wanted))
        unknown = [digest for digest in wanted if digest not in known]
        paid = yield from embedding.embed(slice_, [wanted[digest] for digest in unknown])
        pieces = dict(zip(unknown, paid.pieces, strict=True))
        with slice_.writing(pauses=LONG_PAUSES):
            paid.write(slice_)
            if paid.bills:
                count_tokens(slice_, document, paid)
            if not compiled_sql.select(Edition, ("id",), {"pk": edition.pk, "state": EditionState.MAKING}):
                return ""
            if not paid.refusal:
                if pending:
                    _complete(slice_, edition, pending, known, pieces)
                elif paid.bills or not unknown:
                    _insert(slice_, edition, chunks, batch, known, pieces)
                    slice_.moved()
        if paid.refusal:
            return paid.refusal
        if not paid.is_whole or slice_.is_over:  # asked here, so that each slice writes a batch of what it has cut
            return ""
    return ""


def _known(slice_: Slice, digests: Sequence[str]) -> dict[str, int]:
    """Chunks of the same bot and model that have a vector, by digest. One that was removed may have lost its own."""
    equal = Chunk.objects.filter(index=slice_.index, digest__in=digests, is_parent=False, is_pending=False)
    return dict(equal.filter(vectors.exists(slice_.index.pk, "pk")).values_list("digest", "pk"))


def count_tokens(slice_: Slice, document: Document, paid: Paid) -> None:
    """Within `writing`: the document's tokens; and where a vector has come, the model does not refuse any more."""
    tokens = sum(call.input_tokens for bill in paid.bills for call in bill.calls)
    compiled_sql.update(Document, {"pk": document.pk}, {"tokens": tokens})
    if any(piece.vector is not None for parts in paid.pieces for piece in parts):
        Knowledge.objects.filter(pk=slice_.pk, refused_since__isnull=False).update(refused_since=None)


def _insert(
    slice_: Slice,
    edition: Edition,
    chunks: Sequence[CutChunk],
    batch: Sequence[CutChunk],
    known: dict[str, int],
    pieces: dict[str, list[Piece]],
) -> None:
    """Within `writing`: the rows of a batch, and their vectors as far as they are there."""
    parents = _parents(edition, chunks)
    rows: list[Chunk] = []
    packed: list[Any] = []
    for chunk in batch:
        start = chunk.start
        # A parent of one child says the same, but is not looked for.
        paid = () if chunk.is_parent else pieces.get(chunk.digest, ())
        parts = paid or [Piece(chunk.text, chunk.header)]
        for part in parts:
            is_known = chunk.is_parent or chunk.digest in known
            rows.append(
                Chunk(
                    edition=edition,
                    index=slice_.index,
                    position=edition.chunks + len(rows),
                    page=chunk.page,
                    header=chunk.header,
                    text=part.text,
                    digest=chunk.digest if len(parts) == 1 else digest_of(part),
                    start=start,
                    end=chunk.end if part is parts[-1] else start + len(part.text),
                    is_parent=chunk.is_parent,
                    is_pending=not is_known and part.vector is None,
                )
            )
            packed.append(part.vector)
            start += len(part.text)
            if chunk.is_parent:
                parents[chunk.position] = rows[-1]
            elif chunk.parent is not None:
                rows[-1].parent = parents[chunk.parent]
    children = [row for row in rows if not row.is_parent]
    Chunk.objects.bulk_create(row for row in rows if row.is_parent)
    for row in children:
        row.parent_id = None if row.parent is None else row.parent.pk
    Chunk.objects.bulk_create(children)
    _write_vectors(
        slice_, edition, [(row, known.get(row.digest), vector) for row, vector in zip(rows, packed, strict=True)]
    )
    edition.taken += len(batch)
    edition.chunks += len(rows)
    edition.findable += len(children)
    edition.save(update_fields=["taken", "chunks", "findable"])


def _complete(
    slice_: Slice,
    edition: Edition,
    pending: Sequence[Chunk],
    known: dict[str, int],
    pieces: dict[str, list[Piece]],
) -> None:
    """Within `writing`: vectors of rows that had none. Other parts of a too long one come last."""
    written: list[tuple[Chunk, int | None, Any]] = []
    for row in pending:
        first, *others = pieces.get(row.digest) or [Piece(row.text, row.header)]
        old = known.get(row.digest)
        row.is_pending = old is None and first.vector is None
        if others:
            row.text, row.digest, row.end = first.text, digest_of(first), row.start + len(first.text)
        row.save(update_fields=["is_pending", "text", "digest", "end"])
        written.append((row, old, first.vector))
        start = row.end
        for part in others:
            extra = Chunk.objects.create(
                edition=edition,
                index=slice_.index,
                position=edition.chunks,
                page=row.page,
                header=row.header,
                text=part.text,
                digest=digest_of(part),
                start=start,
                end=start + len(part.text),
                parent_id=row.parent_id,
                is_pending=part.vector is None,
            )
            start = extra.end
            written.append((extra, None, part.vector))
            edition.chunks += 1
            edition.findable += 1
    _write_vectors(slice_, edition, written)
    edition.save(update_fields=["chunks", "findable"])
    slice_.moved()


def _write_vectors(slice_: Slice, edition: Edition, rows: Sequence[tuple[Chunk, int | None, Any]]) -> None:
    """Within `writing`: vectors that were paid, and those of equal chunks. One that is gone meanwhile is made anew."""
    new = [(row.pk, vector) for row, old, vector in rows if vector is not None]
    copies = [(old, row.pk) for row, old, vector in rows if vector is None and old is not None and not row.is_parent]
    vectors.write(slice_.index.pk, edition.pk, new)
    if copies:
        taken_over = vectors.copy(slice_.index.pk, edition.pk, copies)
        missing = [key for _, key in copies if key not in taken_over]
        Chunk.objects.filter(pk__in=missing).update(is_pending=True)


def _parents(edition: Edition, chunks: Sequence[CutChunk]) -> dict[int, Chunk]:
    """The parents that are written, by their position in the cut."""
    positions = [chunk.position for chunk in chunks if chunk.is_parent]
    if not positions:
        return {}
    return dict(
        zip(positions, Chunk.objects.filter(edition=edition, is_parent=True).order_by("position"), strict=False)
    )


def digest_of(piece: Piece) -> str:
    return storing.digest(piece.embedded.encode())

"""Where a text is cut by its meaning: the distances between neighbouring sentences, kept with the edition.

They are written with what each batch has cost. A slice that ends early leaves them to the next one, which embeds only
the last sentence once more.
"""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, Final

from bots.knowledge import batches, chunking, embedding
from bots.knowledge.batches import AT_ONCE
from bots.knowledge.lanes import Errand
from bots.knowledge.models import Document, Edition
from bots.knowledge.reading.pages import Reading
from bots.knowledge.slices import Slice
from bots.knowledge.states import EditionState

DIGITS: Final = 6
"""Of a distance, behind the point: a long text has many of them."""


class Refused(Exception):
    """The document cannot be cut: the model takes one of its sentences in no way, or its passages would be too many."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class CutOtherwise(Exception):
    """The sentences are not those whose distances are kept, or whose chunks are written."""


def measure(
    slice_: Slice, document: Document, edition: Edition, reading: Reading
) -> Generator[Errand, Any, list[float] | None]:
    """The distances between all sentences. None: the slice ends before they are known.

    Raises Refused and CutOtherwise.
    """
    sentences: list[str] = yield partial(chunking.sentences, reading, slice_.settings.cut)
    breaks: list[float] = list(edition.breaks or ())
    most = max(0, len(sentences) - 1)
    if len(breaks) > most or (len(breaks) < most and edition.taken):
        raise CutOtherwise
    start, last = len(breaks), b""
    while len(breaks) < most:
        if slice_.is_over:
            return None
        batch = sentences[start : start + AT_ONCE]
        paid = yield from embedding.embed(slice_, [("", sentence) for sentence in batch])
        packed = [parts[0].vector for parts in paid.pieces]
        if paid.is_whole:
            packed = [last, *packed] if last else packed
            breaks = breaks + (yield partial(_distances, packed))
        with slice_.writing():
            paid.write(slice_)
            batches.count_tokens(slice_, document, paid)
            making = Edition.objects.filter(pk=edition.pk, state=EditionState.MAKING)
            is_making = bool(making.update(breaks=breaks)) if paid.is_whole else making.exists()
            slice_.moved()
        if paid.refusal:
            raise Refused(paid.refusal)
        if not paid.is_whole or not is_making:
            return None
        start, last = start + len(batch), packed[-1]
    edition.breaks = breaks
    return breaks


def _distances(packed: Sequence[bytes]) -> list[float]:
    """On a thread: one less the cosine of neighbours."""
    from bedrock_chat.search.vectors import quantising  # noqa: PLC0415  numpy, which few processes need

    if len(packed) < 2:
        return []
    floats = quantising.floats_of(packed, quantising.dimensions_of(packed[0]))
    products = (floats[1:] * floats[:-1]).sum(axis=1)
    return [round(float(1 - product), DIGITS) for product in products]

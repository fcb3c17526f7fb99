"""Where a text is cut by its meaning: the distances between neighbouring sentences, kept with the edition."""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any

from bots.knowledge import chunking, embedding
from bots.knowledge.batches import AT_ONCE
from bots.knowledge.lanes import Errand
from bots.knowledge.models import Edition, EditionState
from bots.knowledge.reading.pages import Reading
from bots.knowledge.slices import Slice


def measure(slice_: Slice, edition: Edition, reading: Reading) -> Generator[Errand, Any, bool]:
    """Embeds the sentences and keeps their distances. False: the slice ends before they are known."""
    sentences: list[str] = yield partial(chunking.sentences, reading, slice_.settings.cut)
    packed: list[Any] = []
    for start in range(0, len(sentences), AT_ONCE):
        if slice_.is_over:
            return False
        batch = sentences[start : start + AT_ONCE]
        paid = yield from embedding.embed(slice_, [("", sentence) for sentence in batch])
        with slice_.writing():
            paid.write(slice_)
        if not paid.is_whole:
            return False
        packed += [parts[0].vector for parts in paid.pieces]
    edition.breaks = yield partial(_distances, packed)
    with slice_.writing():
        Edition.objects.filter(pk=edition.pk, state=EditionState.MAKING).update(breaks=edition.breaks)
        slice_.moved()
    return True


def _distances(packed: Sequence[bytes]) -> list[float]:
    """On a thread: one less the cosine of neighbours."""
    from bedrock_chat.search.vectors import quantising  # noqa: PLC0415  numpy, which few processes need

    if len(packed) < 2:
        return []
    floats = quantising.floats_of(packed, quantising.dimensions_of(packed[0]))
    products = (floats[1:] * floats[:-1]).sum(axis=1)
    return [float(1 - product) for product in products]

"""Documents that are indexed at once, without a sync: their rows, their words and their vectors."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from bedrock_chat.bedrock import embeddings
from bedrock_chat.blobs import storing
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.search.passages import indexing
from bedrock_chat.search.vectors import writing
from bots.knowledge.models import (
    Chunk,
    Document,
    DocumentState,
    Edition,
    EditionState,
    Knowledge,
    KnowledgeIndex,
    Source,
    SourceState,
)

TEXT = "0" * 64


@dataclass(frozen=True, slots=True)
class Page:
    """A document as it is cut: chunks that touch, all on one page. `children` are of the parent that they make up."""

    location: str
    chunks: Sequence[str]
    page: int | None = None
    link: str = ""
    body: bytes = b""
    children: bool = False


def index(bot_id: str, *pages: Page, model: str = "titan_v2") -> dict[str, int]:
    """Location → number of its document. Pages of one location are one document."""
    knowledge, _ = Knowledge.objects.get_or_create(bot_id=bot_id, defaults={"asked_at": timezone.now()})
    serving = knowledge.serving or KnowledgeIndex.objects.create(knowledge=knowledge, model=model)
    documents: dict[str, int] = {}
    for page in pages:
        documents[page.location] = _write(knowledge, serving, page)
    KnowledgeIndex.objects.filter(pk=serving.pk).update(
        chunks=Chunk.objects.filter(index=serving, is_parent=False).count()
    )
    Knowledge.objects.filter(pk=knowledge.pk).update(serving=serving)
    return documents


def _write(knowledge: Knowledge, serving: KnowledgeIndex, page: Page) -> int:
    kind = "web" if page.link else page.location.partition(":")[0]
    source, _ = Source.objects.get_or_create(
        knowledge=knowledge, kind=kind, location=page.location, is_removed=False, defaults={"state": SourceState.LISTED}
    )
    document, _ = Document.objects.get_or_create(
        knowledge=knowledge,
        location=page.location,
        state=DocumentState.READY,
        defaults={
            "source": source,
            "name": page.location.removeprefix("file:").rpartition("/")[2],
            "link": page.link,
        },
    )
    body = storing.digest(page.body) if page.body else ""
    edition, _ = Edition.objects.get_or_create(
        document=document,
        index=serving,
        state=EditionState.LIVE,
        defaults={
            "text": TEXT,
            "cut": TEXT,
            "body": body,
            "created_at": timezone.now(),
        },
    )
    if page.body:
        storing.store({body: page.body})
        storing.refer("knowledge edition", edition.pk, [body])
    chunks = _chunks(edition, page)
    findable = [chunk for chunk in chunks if not chunk.is_parent]
    model = embeddings.model(serving.model)
    embedded = embeddings.embed_documents(
        model, [chunk.text for chunk in findable], interruption=Interruption(), deadline=time.monotonic() + 30
    )
    vectors = [(chunk.pk, vector) for chunk, vector in zip(findable, embedded.vectors, strict=True) if vector]
    prepared = indexing.prepare([(chunk.pk, chunk.text) for chunk in findable])
    with transaction.atomic():
        indexing.write(knowledge.pk, edition.pk, prepared)
        writing.write(serving.pk, edition.pk, vectors)
        writing.publish(serving.pk, show=[edition.pk])
    return document.pk


def _chunks(edition: Edition, page: Page) -> list[Chunk]:
    position = Chunk.objects.filter(edition=edition).count()
    chunks: list[Chunk] = []
    parent = None
    if page.children:
        parent = _chunk(edition, page, position, "".join(page.chunks), 0, is_parent=True)
        chunks.append(parent)
    start = 0
    for text in page.chunks:
        position += 1
        chunks.append(_chunk(edition, page, position, text, start, parent=parent))
        start += len(text)
    return chunks


def _chunk(
    edition: Edition,
    page: Page,
    position: int,
    text: str,
    start: int,
    *,
    parent: Chunk | None = None,
    is_parent: bool = False,
) -> Chunk:
    return Chunk.objects.create(
        edition=edition,
        index_id=edition.index_id,
        position=position,
        page=page.page,
        text=text,
        digest=storing.digest(text.encode()),
        start=start,
        end=start + len(text),
        is_parent=is_parent,
        parent=parent,
    )

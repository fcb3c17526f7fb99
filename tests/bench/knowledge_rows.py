"""The rows of a bot's knowledge, for benchmarks: chunks in documents, their words and their vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from bedrock_chat.search.passages import indexing
from bedrock_chat.search.vectors import writing
from bots.knowledge.models import Document, DocumentState, Edition, EditionState, Knowledge, KnowledgeIndex, Source

PASSAGES_A_DOCUMENT = 20


@dataclass(frozen=True)
class Bot:
    scope: int
    index: int
    live: QuerySet[Any]


def empty(documents: int) -> tuple[Bot, list[int]]:
    """A bot's knowledge with so many documents that are found, and the numbers of their readings."""
    knowledge = Knowledge.objects.create(asked_at=timezone.now())
    index = KnowledgeIndex.objects.create(knowledge=knowledge, model="titan_v2")
    source = Source.objects.create(knowledge=knowledge, kind="web", location="https://bench.example/")
    rows = Document.objects.bulk_create(
        Document(
            knowledge=knowledge, source=source, location=f"https://bench.example/{number}", state=DocumentState.READY
        )
        for number in range(documents)
    )
    now = timezone.now()
    editions = Edition.objects.bulk_create(
        Edition(document=row, index=index, state=EditionState.LIVE, text="0" * 64, cut="0" * 64, created_at=now)
        for row in rows
    )
    return Bot(knowledge.pk, index.pk, Edition.objects.live(index.pk)), [edition.pk for edition in editions]


def bot(passages: Sequence[tuple[int, str]], vector: Callable[[str], list[float]]) -> Bot:
    """A bot that knows these passages, by key, written as a sync writes them."""
    made, groups = empty(-(-len(passages) // PASSAGES_A_DOCUMENT))
    for number, group in enumerate(groups):
        part = passages[number * PASSAGES_A_DOCUMENT : (number + 1) * PASSAGES_A_DOCUMENT]
        prepared = indexing.prepare(part)
        packed = [(key, vector(text)) for key, text in part]
        for some in prepared.parts():
            with transaction.atomic():
                indexing.write(made.scope, group, some)
        with transaction.atomic():
            writing.write(made.index, group, packed)
            writing.publish(made.index, show=[group])
    return made

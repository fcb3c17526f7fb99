"""A bot's knowledge on the wire."""

from collections.abc import Iterable
from typing import Any

from bedrock_chat.ledger.units import usd_of
from bedrock_chat.wire.moments import whole_milliseconds
from bots.knowledge.models import Document
from bots.knowledge.reports import KnowledgeReport, SourceReport
from bots.knowledge.retrieval import Passage, Retrieved
from bots.knowledge.sources import kinds

Wire = dict[str, Any]
BYTES_PER_SOURCE = 1_000
"""About, in a report."""
BYTES_PER_DOCUMENT = 1_500


def size_of(report: KnowledgeReport) -> int:
    return len(report.sources) * BYTES_PER_SOURCE


def report_output(report: KnowledgeReport) -> Wire:
    status, reason = report.state
    knowledge, index = report.knowledge, report.index
    return {
        "syncStatus": status,
        "syncStatusReason": reason,
        "lastSyncTime": whole_milliseconds(knowledge.synced_at if knowledge else None),
        "embeddingsModel": index.model if index else None,
        "chunks": index.chunks if index else 0,
        "documents": report.documents,
        "tokens": report.tokens,
        "price": float(usd_of(knowledge.sync_price)) if knowledge else 0.0,
        "sources": [_source(source) for source in report.sources],
    }


def documents_output(documents: Iterable[Document]) -> list[Wire]:
    """Documents with `chunks` and `source_kind`, as `reports.documents` reads them."""
    return [_document(document) for document in documents]


def passages_output(retrieved: Retrieved) -> Wire:
    return {"passages": [_passage(passage) for passage in retrieved.passages], "note": retrieved.note}


def _passage(passage: Passage) -> Wire:
    return {
        "text": passage.text,
        "score": passage.score,
        "similarity": passage.similarity,
        "wordsScore": passage.words,
        "sourceName": passage.name,
        "sourceLink": passage.link,
        "pageNumber": passage.page,
    }


def _source(report: SourceReport) -> Wire:
    return {
        "kind": report.source.kind,
        "location": report.source.location,
        "state": report.state,
        "reason": report.reason,
        "documents": report.documents,
        "skipped": report.source.skipped,
        "tokens": report.tokens,
    }


def _document(document: Any) -> Wire:
    return {
        "id": str(document.pk),
        "sourceKind": document.source_kind,
        "location": document.location,
        "name": kinds.seen(document.name),
        "link": document.link or None,
        "state": document.state,
        "reason": document.reason or document.note,
        "pages": document.pages,
        "chunks": document.chunks or 0,
        "tokens": document.tokens,
    }

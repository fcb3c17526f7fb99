"""Rows of a bot's knowledge as syncs leave them."""

from typing import Any

from django.utils import timezone

from bedrock_chat.jobs.models import Job
from bots.knowledge import revisions
from bots.knowledge.models import (
    Chunk,
    Document,
    DocumentState,
    Edition,
    EditionState,
    Knowledge,
    KnowledgeIndex,
    Source,
    SourceKind,
    SourceState,
)
from bots.knowledge.states import Blame
from bots.models import SyncStatus

DIGEST = "0" * 64
SUCCEEDED = "Knowledge base sync succeeded"


def known(bot_id: str, *, state: str = SyncStatus.SUCCEEDED, reason: str = SUCCEEDED, **columns: Any) -> Knowledge:
    """A bot's knowledge after a sync, or while one runs, with an index that has nothing in it yet."""
    knowledge = Knowledge.objects.get(bot=bot_id)
    is_over = state in (SyncStatus.SUCCEEDED, SyncStatus.FAILED)
    blame = Blame.SOURCE if state == SyncStatus.FAILED else ""
    columns = {
        "sync_status": state,
        "sync_status_reason": reason,
        "blame": blame,
        "planned": knowledge.wanted,
        **columns,
    }
    if is_over:
        columns = {"done": knowledge.wanted, "synced_at": timezone.now(), **columns}
        Job.objects.filter(key=revisions.key_of(knowledge.pk)).delete()
    columns["serving"] = KnowledgeIndex.objects.create(knowledge=knowledge, model="titan_v2")
    Knowledge.objects.filter(pk=knowledge.pk).update(**columns)
    knowledge.refresh_from_db()
    return knowledge


def source(knowledge: Knowledge, kind: SourceKind, location: str, *, reason: str = "", **columns: Any) -> Source:
    state = SourceState.FAILED if reason else SourceState.LISTED
    place = Source.objects.filter(knowledge=knowledge).count()
    columns = {"blame": Blame.SOURCE if reason else "", **columns}
    return Source.objects.create(
        knowledge=knowledge, kind=kind, location=location, place=place, state=state, reason=reason, **columns
    )


def document(source: Source, location: str, *texts: str, **columns: Any) -> Document:
    """A document that is found, with a passage for each text; without texts it failed, or as the columns say."""
    columns = {"state": DocumentState.READY if texts else DocumentState.FAILED, "name": location, **columns}
    if columns["state"] == DocumentState.FAILED:
        columns = {"reason": "answered 403.", "blame": Blame.SOURCE, **columns}
    row = Document.objects.create(knowledge=source.knowledge, source=source, location=location, **columns)
    if texts:
        index = source.knowledge.serving
        assert index is not None
        edition = Edition.objects.create(
            document=row,
            index=index,
            state=EditionState.LIVE,
            text=DIGEST,
            cut=DIGEST,
            chunks=len(texts),
            findable=len(texts),
            created_at=timezone.now(),
        )
        Chunk.objects.bulk_create(
            Chunk(edition=edition, index=index, position=place, text=text, digest=DIGEST)
            for place, text in enumerate(texts)
        )
        index.chunks += len(texts)
        index.save(update_fields=["chunks"])
    return row

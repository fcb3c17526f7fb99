"""What a bot does not know any more: out of everybody's reach in the transaction that removes it, and gone by a job.

A removal changes states in a constant number of statements, whatever there is. The job removes the rows a few at a
time, the lowest first, until none of any table is left: the words and vectors of an edition, its chunks, its kept text,
the edition, its document, its source, and with a bot that is gone its indexes and the knowledge itself.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.search.passages import indexing
from bedrock_chat.search.vectors import purging
from bots.knowledge.configuration import Named
from bots.knowledge.models import (
    Chunk,
    Document,
    DocumentState,
    Edition,
    EditionState,
    Knowledge,
    KnowledgeIndex,
    PageText,
    Source,
)
from bots.knowledge.sources import pace

KIND: Final = "purge knowledge"
BLOB_OWNER: Final = "knowledge edition"
MOST_ROWS: Final = 1_000
"""Rows that one transaction removes, where they are cheap to remove."""
MOST_EDITIONS: Final = 100


# ---- Out of reach ---------------------------------------------------------------------------------------------------


def hide_unnamed(pk: int, named: Iterable[Named]) -> None:
    """Takes the sources that are not named any more out of reach, with their documents.

    A document that another source reaches too is out of reach until the next sync has found it again.
    """
    kept = Q(pk__in=[])
    by_kind: dict[str, list[str]] = {}
    for source in named:
        by_kind.setdefault(source.kind, []).append(source.location)
    for kind, locations in by_kind.items():
        kept |= Q(kind=kind, location__in=locations)
    if Source.objects.filter(knowledge=pk, is_removed=False).exclude(kept).update(is_removed=True):
        hide(pk, Q(source__is_removed=True))


def hide(pk: int, documents: Q) -> None:
    """Takes documents of a bot's knowledge out of reach, with what was read of them. Four statements."""
    reachable = Document.objects.filter(documents, knowledge=pk).exclude(state=DocumentState.REMOVED)
    Document.objects.filter(pk__in=reachable.values("pk")).update(state=DocumentState.REMOVED)
    hide_editions(pk, Q(document__state=DocumentState.REMOVED))


def hide_editions(pk: int, editions: Q) -> None:
    """Takes editions of a bot's knowledge out of reach; their documents stay. Two statements."""
    reachable = Edition.objects.filter(editions, document__knowledge=pk).exclude(state=EditionState.REMOVED)
    if Edition.objects.filter(pk__in=reachable.values("pk")).update(state=EditionState.REMOVED):
        live = Edition.objects.filter(index=OuterRef("pk"), state=EditionState.LIVE).order_by().values("index")
        total = Coalesce(Subquery(live.annotate(total=Sum("findable")).values("total")), 0)
        KnowledgeIndex.objects.filter(knowledge=pk).update(chunks=total)


# ---- Gone -----------------------------------------------------------------------------------------------------------


def ask(pk: int, *, delay: float = 0.0) -> None:
    """Has the job remove what is out of reach, in the transaction that took it there."""
    queue.enqueue(KIND, {"knowledge": pk}, key=f"{KIND}:{pk}", delay=delay)


def forget(bot_id: str) -> None:
    """In the transaction that deletes a bot, before its row goes: has the job remove all that it knew.

    It locks the `Knowledge` before it removes the job, in the order in which a slice locks both.
    """
    for pk in Knowledge.objects.select_for_update().filter(bot_id=bot_id).values_list("pk", flat=True):
        Job.objects.filter(key=f"sync knowledge:{pk}").delete()
        ask(pk)


def purge(job: Claimed) -> None:
    """The job. After KNOWLEDGE_SLICE_SECONDS it puts itself at the end of the queue again.

    Who takes something out of reach meanwhile locks the `Knowledge`, and asks in vain for a job that runs. So this one
    locks it, too, and looks once more.
    """
    pk = job.payload["knowledge"]
    end = time.monotonic() + settings.KNOWLEDGE_SLICE_SECONDS
    removal = Removal(pk, job)
    while not (time.monotonic() > end or job.ending.requested) and removal.step():
        pass
    pace.forget_old()  # hosts have rows for all bots; each sync is followed by this job
    with transaction.atomic():
        knowledge = Knowledge.objects.select_for_update().filter(pk=pk).first()
        job.finish()
        if knowledge is not None and removal.has_more(knowledge):
            ask(pk)


def purge_orphans() -> int:
    """Removes at once all that was known to bots that are gone. Returns how many bots that were."""
    orphans = list(Knowledge.objects.filter(bot__isnull=True).values_list("pk", flat=True))
    for pk in orphans:
        removal = Removal(pk)
        while removal.step():
            pass
    return len(orphans)


class Removal:
    """Removes what is out of reach in one bot's knowledge, a short transaction at a time."""

    def __init__(self, pk: int, job: Claimed | None = None) -> None:
        self._pk = pk
        self._job = job

    def step(self) -> bool:
        """One transaction. False when nothing is left to be removed."""
        knowledge = Knowledge.objects.filter(pk=self._pk).first()
        if knowledge is None:
            return False
        editions = self._editions(knowledge)
        if editions:
            self._remove_editions(editions)
            return True
        return self._remove_rest(knowledge)

    def has_more(self, knowledge: Knowledge) -> bool:
        """Whether anything is out of reach, or the bot is gone."""
        removed = Document.objects.filter(knowledge=knowledge, state=DocumentState.REMOVED)
        return knowledge.bot_id is None or bool(self._editions(knowledge)) or removed.exists()

    def _editions(self, knowledge: Knowledge) -> list[Edition]:
        """Some that are out of reach: those of a bot that is gone, of an index that served once, or removed ones."""
        mine = Edition.objects.filter(index__knowledge=knowledge)
        if knowledge.bot_id is not None:
            mine = mine.filter(Q(state=EditionState.REMOVED) | ~_is_used("index"))
        return list(mine.order_by("pk")[:MOST_EDITIONS])

    def _remove_editions(self, editions: Sequence[Edition]) -> None:
        """Their words, vectors and chunks, then themselves with their references to blobs."""
        for edition in editions:
            while self._write(lambda: indexing.remove(self._pk, edition.pk)):  # noqa: B023  called at once
                pass
        for index in {edition.index_id for edition in editions}:
            groups = [edition.pk for edition in editions if edition.index_id == index]
            while self._write(lambda: purging.purge(index, groups)):  # noqa: B023
                pass
        keys = [edition.pk for edition in editions]
        while self._write(lambda: _delete_some(Chunk.objects.filter(edition__in=keys))):
            pass
        self._write(lambda: _delete_editions(keys))

    def _remove_rest(self, knowledge: Knowledge) -> bool:
        """Documents, sources and indexes that nothing below needs. True while there may be more."""
        is_gone = knowledge.bot_id is None
        documents = Document.objects.filter(knowledge=knowledge)
        sources = Source.objects.filter(knowledge=knowledge)
        if not is_gone:
            documents = documents.filter(state=DocumentState.REMOVED)
            sources = sources.filter(is_removed=True)
        unread = ~Exists(Edition.objects.filter(document=OuterRef("pk")))
        if self._write(lambda: _delete_some(PageText.objects.filter(document__in=documents.filter(unread)))):
            return True
        if self._write(lambda: _delete_some(documents.filter(unread))):
            return True
        unused = ~Exists(Document.objects.filter(source=OuterRef("pk")))
        if self._write(lambda: _delete_some(sources.filter(unused))):
            return True
        indexes = KnowledgeIndex.objects.filter(knowledge=knowledge)
        for index in indexes if is_gone else indexes.filter(~_is_used("pk")):
            while self._write(lambda: purging.purge_index(index.pk)):  # noqa: B023
                pass
            self._write(lambda: _delete_index(index))  # noqa: B023
        if is_gone:
            self._write(lambda: Knowledge.objects.filter(pk=knowledge.pk, bot__isnull=True).delete())
        return False

    def _write(self, removed: Any) -> Any:
        """A transaction of the job, and what it returns. Raises LeaseLost."""
        with yield_sqlite_lock(), transaction.atomic():
            if self._job is not None:
                self._job.hold()
            return removed()


def _is_used(index: str) -> Exists:
    """The condition that the index which a column names serves, or is made, as the statement sees it: a sync may have
    begun another one meanwhile. One that is neither never is again.
    """
    return Exists(Knowledge.objects.filter(Q(serving=OuterRef(index)) | Q(making=OuterRef(index))))


def _delete_some(rows: models.QuerySet[Any]) -> bool:
    """Deletes MOST_ROWS at most. True while there may be more."""
    keys = list(rows.order_by("pk").values_list("pk", flat=True)[:MOST_ROWS])
    rows.model._default_manager.filter(pk__in=keys)._raw_delete(rows.db)
    return len(keys) == MOST_ROWS


def _delete_editions(keys: Sequence[int]) -> None:
    storing.forget(BLOB_OWNER, keys)
    Edition.objects.filter(pk__in=keys)._raw_delete("default")


def _delete_index(index: KnowledgeIndex) -> None:
    Knowledge.objects.filter(serving=index).update(serving=None)
    Knowledge.objects.filter(making=index).update(making=None)
    KnowledgeIndex.objects.filter(pk=index.pk)._raw_delete("default")

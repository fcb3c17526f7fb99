"""What a bot does not know any more: out of everybody's reach in the transaction that removes it, and gone by a job.

A removal changes states in a constant number of statements, whatever there is. The job removes the rows a few at a
time, the lowest first, until none of any table is left: the words and vectors of an edition, its chunks, its kept text,
the edition, its document, its source, and with a bot that is gone its indexes and the knowledge itself.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
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
from bots.knowledge.models import Chunk, Document, Edition, Knowledge, KnowledgeIndex, PageText, Source
from bots.knowledge.sources import pace
from bots.knowledge.states import DocumentState, EditionState

KIND: Final = "purge knowledge"
BLOB_OWNER: Final = "knowledge edition"
MOST_ROWS: Final = 1_000
"""Rows that one transaction removes, where they are cheap to remove."""
MOST_EDITIONS: Final = 100
IDLE_SECONDS: Final = 60.0
"""Before the job looks again at what it could not remove."""


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


def hide_file(bot_id: str, sha256: str) -> None:
    """In the transaction that removes a file from all versions of a bot, whose row it has locked: takes what was read
    of it out of reach. The bot may name another file in its place, which nobody could read yet.
    """
    for pk in list(Knowledge.objects.select_for_update().filter(bot_id=bot_id).values_list("pk", flat=True)):
        hide_editions(pk, Q(body=sha256))
        PageText.objects.filter(document__knowledge=pk, file=sha256).delete()
        ask(pk)


# ---- Gone -----------------------------------------------------------------------------------------------------------


def ask(pk: int, *, delay: float = 0.0) -> None:
    """Has the job remove what is out of reach, in the transaction that took it there."""
    queue.enqueue(KIND, {"knowledge": pk}, key=key_of(pk), delay=delay)


def key_of(pk: int) -> str:
    return f"{KIND}:{pk}"


def forget(bot_id: str) -> None:
    """In the transaction that deletes a bot, before its row goes: has the job remove all that it knew.

    The knowledge is locked before the job of its sync, as a slice does it, or the two could wait for each other.
    """
    for pk in list(Knowledge.objects.select_for_update().filter(bot_id=bot_id).values_list("pk", flat=True)):
        Job.objects.filter(key=f"sync knowledge:{pk}").delete()
        ask(pk)


def purge(job: Claimed) -> None:
    """The job. After KNOWLEDGE_SLICE_SECONDS, or when the worker ends, it puts itself at the end of the queue again.

    Who takes something out of reach meanwhile locks the `Knowledge`, and asks in vain for a job that runs. So this one
    locks it, too, and looks once more.
    """
    pk = job.payload["knowledge"]
    removal = Removal(pk, job, end=time.monotonic() + settings.KNOWLEDGE_SLICE_SECONDS)
    while removal.step():
        pass
    pace.forget_old()  # hosts have rows for all bots; each sync is followed by this job
    with transaction.atomic():
        knowledge = Knowledge.objects.select_for_update().filter(pk=pk).first()
        job.finish()
        if knowledge is not None and removal.has_more(knowledge):
            ask(pk, delay=0.0 if removal.has_removed or removal.is_over else IDLE_SECONDS)


def purge_orphans() -> int:
    """Removes at once all that was known to bots that are gone. Returns how many bots that were."""
    orphans = list(Knowledge.objects.filter(bot__isnull=True).values_list("pk", flat=True))
    for pk in orphans:
        removal = Removal(pk)
        while removal.step():
            pass
    return len(orphans)


class Removal:
    """Removes what is out of reach in one bot's knowledge, a short transaction at a time.

    No further one is begun after `end`, by the monotonic clock, or once the job's worker is to end.
    `has_removed`: any rows were removed.
    """

    def __init__(self, pk: int, job: Claimed | None = None, *, end: float = math.inf) -> None:
        self._pk = pk
        self._job = job
        self._end = end
        self._is_hidden = False
        self.has_removed = False

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end or (self._job is not None and self._job.ending.requested)

    def step(self) -> bool:
        """Some transactions. False when nothing is left to be removed, or no more time."""
        if self.is_over:
            return False
        with transaction.atomic():
            knowledge = Knowledge.objects.select_for_update().filter(pk=self._pk).first()
            if knowledge is None:
                return False
            editions = list(_removable_editions(knowledge).order_by("pk")[:MOST_EDITIONS])
        if not self._is_hidden:
            self._is_hidden = all(self._repeat(partial(_hide, index)) for index in _indexes(knowledge))
        return self._remove_editions(editions) if editions else self._remove_rest(knowledge)

    def has_more(self, knowledge: Knowledge) -> bool:
        """Whether there is anything that a step could remove of a locked knowledge."""
        removable = (
            _removable_editions(knowledge),
            _removable_documents(knowledge),
            _removable_sources(knowledge),
            _removable_indexes(knowledge),
        )
        return knowledge.bot_id is None or any(rows.exists() for rows in removable)

    def _remove_editions(self, editions: Sequence[Edition]) -> bool:
        """Their words, vectors and chunks, then themselves with their references to blobs. True if that was done."""
        keys = [edition.pk for edition in editions]
        words = [partial(indexing.remove, self._pk, key) for key in keys]
        vectors = [
            partial(purging.purge, index, [edition.pk for edition in editions if edition.index_id == index])
            for index in {edition.index_id for edition in editions}
        ]
        chunks = partial(self._delete_some, Chunk.objects.filter(edition__in=keys))
        steps: list[Callable[[], object]] = [*words, *vectors, chunks, partial(_delete_editions, keys)]
        is_done = all(self._repeat(remove) for remove in steps)
        self.has_removed = self.has_removed or is_done
        return is_done

    def _remove_rest(self, knowledge: Knowledge) -> bool:
        """Documents, sources and indexes that nothing below needs. Then there is nothing more: False."""
        documents = _removable_documents(knowledge)
        for rows in (PageText.objects.filter(document__in=documents), documents, _removable_sources(knowledge)):
            if not self._repeat(partial(self._delete_some, rows)):
                return False
        for index in list(_removable_indexes(knowledge).values_list("pk", flat=True)):
            if not self._repeat(partial(self._remove_index, index), locks=True):
                return False
        if knowledge.bot_id is None:
            self._write(Knowledge.objects.filter(pk=self._pk, bot__isnull=True).delete)
        return False

    def _remove_index(self, pk: int) -> bool:
        """Within a transaction that has locked what names indexes: one that is still not named. True while there is
        more of it.
        """
        if not _removable_indexes(Knowledge.objects.get(pk=self._pk)).filter(pk=pk).exists():
            return False
        if purging.purge_index(pk):
            return True
        Knowledge.objects.filter(bot__isnull=True, serving=pk).update(serving=None)
        Knowledge.objects.filter(bot__isnull=True, making=pk).update(making=None)
        KnowledgeIndex.objects.filter(pk=pk)._raw_delete("default")
        self.has_removed = True
        return False

    def _delete_some(self, rows: models.QuerySet[Any]) -> bool:
        """Deletes MOST_ROWS at most. True while there may be more."""
        keys = list(rows.order_by("pk").values_list("pk", flat=True)[:MOST_ROWS])
        rows.model._default_manager.filter(pk__in=keys)._raw_delete(rows.db)
        self.has_removed = self.has_removed or bool(keys)
        return len(keys) == MOST_ROWS

    def _repeat(self, remove: Callable[[], object], *, locks: bool = False) -> bool:
        """Transactions, until one says that nothing is left. False if that was not reached in time."""
        while not self.is_over:
            if not self._write(remove, locks=locks):
                return True
        return False

    def _write(self, remove: Callable[[], object], *, locks: bool = False) -> object:
        """A transaction of the job, and what it returns. Raises LeaseLost. `locks`: the `Knowledge` first."""
        with yield_sqlite_lock(), transaction.atomic():
            if locks and not Knowledge.objects.select_for_update().filter(pk=self._pk).exists():
                return False
            if self._job is not None:
                self._job.hold()
            return remove()


# ---- What can be removed --------------------------------------------------------------------------------------------


def _removable_editions(knowledge: Knowledge) -> models.QuerySet[Edition]:
    """Those that are out of reach: of a bot that is gone, of an index that served once, or removed ones."""
    mine = Edition.objects.filter(index__knowledge=knowledge)
    if knowledge.bot_id is None:
        return mine
    is_removed = Q(state=EditionState.REMOVED) | Q(document__state=DocumentState.REMOVED)
    return mine.filter(is_removed | ~Q(index__in=_indexes(knowledge)))


def _removable_documents(knowledge: Knowledge) -> models.QuerySet[Document]:
    """Those that are out of reach, and of which no edition is left."""
    unread = Document.objects.filter(~Exists(Edition.objects.filter(document=OuterRef("pk"))), knowledge=knowledge)
    return unread if knowledge.bot_id is None else unread.filter(state=DocumentState.REMOVED)


def _removable_sources(knowledge: Knowledge) -> models.QuerySet[Source]:
    """Those that are not named any more, and of which no document is left."""
    unused = Source.objects.filter(~Exists(Document.objects.filter(source=OuterRef("pk"))), knowledge=knowledge)
    return unused if knowledge.bot_id is None else unused.filter(is_removed=True)


def _removable_indexes(knowledge: Knowledge) -> models.QuerySet[KnowledgeIndex]:
    """Those that neither serve nor are made, and of which no edition is left. None of them is ever taken up again."""
    empty = KnowledgeIndex.objects.filter(~Exists(Edition.objects.filter(index=OuterRef("pk"))), knowledge=knowledge)
    return empty if knowledge.bot_id is None else empty.exclude(pk__in=_indexes(knowledge))


def _indexes(knowledge: Knowledge) -> list[int]:
    """The index that serves, and the one in the making."""
    return [pk for pk in (knowledge.serving_id, knowledge.making_id) if pk is not None]


# ---- Transactions ---------------------------------------------------------------------------------------------------


def _hide(index: int) -> bool:
    """Removed editions take no place among what a search finds, however long their rows stay. True while there may be
    more.
    """
    return purging.hide(index, Edition.objects.filter(index=index, state=EditionState.REMOVED).values("pk"))


def _delete_editions(keys: Sequence[int]) -> None:
    storing.forget(BLOB_OWNER, keys)
    Edition.objects.filter(pk__in=keys)._raw_delete("default")

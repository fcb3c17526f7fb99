"""Attempts at documents: counted before one is fetched or read, and taken back when it was.

Who finds three of them knows that workers were lost over this document. They are counted for a few documents in one
transaction, those that come next with the first of them; and what is as it was is noted for a few in one, too. So a
page that has not changed costs a small part of a transaction.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.db.models import F, QuerySet

from bedrock_chat.blobs import storing
from bots.knowledge import outcomes
from bots.knowledge.models import Document, Edition
from bots.knowledge.planning import WORKERS_LOST
from bots.knowledge.reaching import reach
from bots.knowledge.slices import Slice
from bots.knowledge.sources.locations import NOTHING_KNOWN, Known, Location
from bots.knowledge.states import EditionState

AT_ONCE: Final = 8
"""Documents that one transaction counts."""
MOST_COUNTED: Final = 16
"""Documents that are counted and not yet begun, whatever hosts they are of."""
LONGEST_SECONDS: Final = 1.0
"""After which it is written that documents are as they were."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A document whose attempt is counted. `kept_name` is the name of its kept text's file, empty where there is none.

    `is_found`: if it has not changed, nothing is to be written but that: what was read last is found, cut as it shall
    be. `is_given_up`: workers were lost over it too often, and no attempt is counted.
    """

    document: Document
    known: Known
    kept_name: str
    is_found: bool = False
    is_given_up: bool = False


class Attempts:
    """Those of one slice. Only the slice's own thread uses it."""

    def __init__(self, slice_: Slice) -> None:
        self._slice = slice_
        self._counted: dict[int, Attempt] = {}
        self._unchanged: list[Document] = []
        self._since = 0.0

    # ---- Before a document is touched -------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many documents may be counted with the next one."""
        return max(0, min(AT_ONCE - 1, MOST_COUNTED - len(self._counted)))

    def __contains__(self, pk: int) -> bool:
        """Whether the attempt at a document is counted."""
        return pk in self._counted

    def count(self, pk: int, documents: QuerySet[Document]) -> None:
        """Counts the attempt at a document, and those at others that come next: `documents` are all of them.

        One over which a worker was lost before is counted alone, when it is begun itself: nothing else than its own
        attempts may make it fail.
        """
        with self._slice.writing():
            self._write_unchanged()
            stored = documents.select_related("source")
            counted = [document for document in stored if document.pk == pk or not document.attempts]
            keys = [document.pk for document in counted]
            Document.objects.filter(pk__in=keys, attempts__lt=WORKERS_LOST).update(attempts=F("attempts") + 1)
        self._counted |= {attempt.document.pk: attempt for attempt in self._attempts(counted)}

    def begin(self, pk: int) -> Attempt | None:
        """The attempt at a document that is fetched now. None where the document was removed."""
        attempt = self._counted.pop(pk, None)
        if attempt is not None and pk in self._slice.newly_followed and not attempt.document.leads_on:
            [attempt] = self._attempts(Document.objects.select_related("source").filter(pk=pk))
        return attempt

    def _attempts(self, documents: Iterable[Document]) -> list[Attempt]:
        """What is known of documents, in two queries."""
        documents = list(documents)
        keys = [document.pk for document in documents]
        editions: dict[int, list[Edition]] = {}
        kept = Edition.objects.filter(document__in=keys).exclude(state=EditionState.REMOVED).order_by("pk")
        for edition in kept.defer("breaks"):
            editions.setdefault(edition.document_id, []).append(edition)
        names = storing.locate({mine[-1].text for mine in editions.values()}) if editions else {}
        return [self._attempt(document, editions.get(document.pk, []), names) for document in documents]

    def _attempt(self, document: Document, editions: Sequence[Edition], names: Mapping[str, str]) -> Attempt:
        """Nothing is known of a document whose text was read otherwise than now, or is lost."""
        if document.attempts >= WORKERS_LOST:
            return Attempt(document, NOTHING_KNOWN, "", is_given_up=True)
        wanted, index = self._slice.settings, self._slice.index.pk
        newest = editions[-1] if editions else None
        name = names.get(newest.text, "") if newest and newest.parsing_model == wanted.parsing_model else ""
        if newest is None or not name:
            return Attempt(document, NOTHING_KNOWN, "")
        mine = [edition for edition in editions if edition.index_id == index]
        is_found = all(edition.state == EditionState.LIVE for edition in mine) and any(
            (edition.text_digest, edition.title, edition.cut) == (newest.text_digest, newest.title, wanted.cut.digest)
            for edition in mine
        )
        known = Known(document.etag, document.last_modified, document.digest)
        return Attempt(document, known, name, is_found=is_found and not document.attempts)

    # ---- Afterwards -------------------------------------------------------------------------------------------------

    def note_unchanged(self, attempt: Attempt, links: Sequence[Location]) -> None:
        """The document is as it was, and found so. What it leads to that was not reached yet is reached now; else it is
        written with the next attempts, or by `look`.
        """
        document = attempt.document
        self._since = self._since if self._unchanged else time.monotonic()
        if not links:
            self._unchanged.append(document)
            return
        with self._slice.writing():
            reach(self._slice, document.source, links)
            self._unchanged.append(document)
            self._write_unchanged()

    def look(self) -> None:
        """Call this now and then: writes what waits for too long."""
        if self._unchanged and time.monotonic() - self._since >= LONGEST_SECONDS:
            with self._slice.writing():
                self._write_unchanged()

    def end(self) -> None:
        """Nothing more is begun: attempts that were not made are taken back, and what is left is written."""
        if not self._unchanged and not self._counted:
            return
        with self._slice.writing():
            self._write_unchanged()
            counted = Document.objects.filter(pk__in=list(self._counted), attempts__gt=0)
            counted.update(attempts=F("attempts") - 1)
        self._counted.clear()

    def _write_unchanged(self) -> None:
        """Within `writing`. What is not committed is written again."""
        if self._unchanged:
            outcomes.write_unchanged(self._slice, self._unchanged)
            transaction.on_commit(self._unchanged.clear)

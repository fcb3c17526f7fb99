"""What a slice does next: lists that have to be asked, documents to be fetched, kept texts to be made findable."""

from collections import deque

from django.db.models import F, Q, QuerySet

from bots.knowledge import documents, listing
from bots.knowledge.hosts import Hosts
from bots.knowledge.lanes import Work
from bots.knowledge.models import Document, Source, SourceKind
from bots.knowledge.reaching import OF_SITES, rows
from bots.knowledge.slices import Slice
from bots.knowledge.states import DocumentState, SourceState

MOST_LEFT_OUT = 64
"""Documents that are passed over at a time, because their host is to be left alone."""


def due(slice_: Slice) -> QuerySet[Document]:
    """The documents of which something is to be done in this sync."""
    if slice_.crawls:
        return rows(slice_.pk).filter(Q(state=DocumentState.READ, fetched=slice_.sync) | _unfetched(slice_))
    return rows(slice_.pk).filter(Q(state=DocumentState.READ) | _unfetched(slice_) & ~OF_SITES)


def _unfetched(slice_: Slice) -> Q:
    return Q(reached=slice_.sync, fetched__lt=slice_.sync)


def has_pages(slice_: Slice) -> bool:
    """Whether pages of sites, or lists of them, are still to be fetched."""
    sites = _waiting(slice_).filter(kind__in=[SourceKind.WEB, SourceKind.SITEMAP])
    return sites.exists() or rows(slice_.pk).filter(OF_SITES, _unfetched(slice_)).exists()


def _waiting(slice_: Slice) -> QuerySet[Source]:
    """The sources that have not named their documents in this sync."""
    return Source.objects.filter(knowledge=slice_.pk, is_removed=False, state=SourceState.WAITING)


def is_empty(slice_: Slice) -> bool:
    """Whether the sync is through."""
    waiting = _waiting(slice_) if slice_.crawls else _waiting(slice_).exclude(kind=SourceKind.SITEMAP)
    return not (due(slice_).exists() or waiting.exists())


class Frontier:
    """Hands out works, each document once in a slice. Only the slice's own thread uses it."""

    def __init__(self, slice_: Slice, hosts: Hosts) -> None:
        self._slice = slice_
        self._hosts = hosts
        self._lists = deque(listing.lists(slice_))
        self._begun: set[int] = set()
        self._waiting: deque[tuple[int, str, bool]] = deque()

    def next(self) -> Work | None:
        """The next work; None: there is none now, and perhaps one when another has ended."""
        if self._lists:
            return listing.ask(self._slice, self._hosts, self._lists.popleft())
        if not self._waiting and self._slice.has_reached:
            self._load()
        for _ in range(min(MOST_LEFT_OUT, len(self._waiting))):
            pk, location, is_fetched = self._waiting.popleft()
            wait: float | None = None
            if not is_fetched:
                wait = self._hosts.begin(location) if documents.is_of_web(location) else 0.0
                if wait is None:
                    self._waiting.append((pk, location, is_fetched))
                    continue
            self._begun.add(pk)
            return documents.bring_on(self._slice, self._hosts, pk, location, wait)
        return None

    def _load(self) -> None:
        """Reads which documents wait: those whose text is kept come first, so that they can be found soon."""
        self._slice.has_reached = False
        documents_due = due(self._slice).order_by(F("fetched").desc(), "-is_urgent", "pk")
        for pk, location, fetched, reached in documents_due.values_list("pk", "location", "fetched", "reached"):
            if pk not in self._begun:
                is_left_out = not self._slice.crawls and documents.is_of_web(location)
                is_fetched = fetched >= self._slice.sync or reached < self._slice.sync or is_left_out
                self._waiting.append((pk, location, is_fetched))

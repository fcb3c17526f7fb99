"""What a slice does next: lists that have to be asked, documents to be fetched, kept texts to be made findable."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from django.db.models import F, Q, QuerySet

from bots.knowledge import documents, listing
from bots.knowledge.attempts import Attempts
from bots.knowledge.hosts import Hosts
from bots.knowledge.lanes import Work
from bots.knowledge.models import Document, Source, SourceKind
from bots.knowledge.reaching import OF_SITES, rows
from bots.knowledge.slices import Slice
from bots.knowledge.sources.scope import host_of
from bots.knowledge.states import DocumentState, SourceState

MOST_LEFT_OUT = 64
"""Hosts that are passed over at a time, because they are to be left alone."""


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

    def __init__(self, slice_: Slice, hosts: Hosts, attempts: Attempts) -> None:
        self._slice = slice_
        self._hosts = hosts
        self._attempts = attempts
        self._lists = deque(listing.lists(slice_))
        self._begun: set[int] = set()
        self._kept: deque[int] = deque()
        self._unfetched: dict[str, deque[tuple[int, str]]] = {}
        """Host → its documents with their locations, in the order in which they are fetched. The host that was asked
        longest ago comes first. Those that are not of the web stand under an empty name.
        """

    def next(self) -> Work | None:
        """The next work; None: there is none now, and perhaps one when another has ended."""
        if self._lists:
            return listing.ask(self._slice, self._hosts, self._lists.popleft())
        if not self._kept and not self._unfetched and self._slice.has_reached:
            self._load()
        if self._kept:
            return self._bring_on(self._kept.popleft(), "", None)
        for _ in range(min(MOST_LEFT_OUT, len(self._unfetched))):
            host = next(iter(self._unfetched))
            documents_of_host = self._unfetched.pop(host)
            pk, location = documents_of_host[0]
            wait = self._hosts.begin(location) if host else 0.0
            if wait is not None:
                documents_of_host.popleft()
            if documents_of_host:
                self._unfetched[host] = documents_of_host
            if wait is not None:
                following = islice(documents_of_host, self._attempts.room)
                return self._bring_on(pk, location, wait, [pk for pk, _ in following])
        return None

    def _bring_on(self, pk: int, location: str, wait: float | None, following: Sequence[int] = ()) -> Work:
        self._begun.add(pk)
        return documents.bring_on(self._slice, self._hosts, self._attempts, pk, location, wait, following)

    def _load(self) -> None:
        """Reads which documents wait: those whose text is kept come first, so that they can be found soon."""
        self._slice.has_reached = False
        documents_due = due(self._slice).order_by(F("fetched").desc(), "-is_urgent", "pk")
        for pk, location, fetched, reached in documents_due.values_list("pk", "location", "fetched", "reached"):
            if pk not in self._begun:
                is_of_web = documents.is_of_web(location)
                is_left_out = not self._slice.crawls and is_of_web
                if fetched >= self._slice.sync or reached < self._slice.sync or is_left_out:
                    self._kept.append(pk)
                else:
                    host = host_of(location) if is_of_web else ""
                    self._unfetched.setdefault(host, deque()).append((pk, location))

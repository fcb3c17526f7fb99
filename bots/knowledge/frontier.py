"""What a slice does next: lists that have to be asked, documents to be fetched, kept texts to be made findable."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from urllib.parse import urljoin

from django.db.models import F, Q, QuerySet

from bots.knowledge import documents, listing
from bots.knowledge.attempts import Attempts
from bots.knowledge.hosts import Hosts
from bots.knowledge.lanes import Work
from bots.knowledge.models import Document, Source, SourceKind
from bots.knowledge.planning import WORKERS_LOST
from bots.knowledge.reaching import OF_SITES, rows
from bots.knowledge.slices import Slice
from bots.knowledge.sources.scope import host_of
from bots.knowledge.states import DocumentState, SourceState

Waiting = deque[tuple[int, str]]
"""Documents with the beginnings of their addresses (`_sites_of`), in the order in which they are fetched."""
ROWS_AT_ONCE = 500
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
        self._loaded: set[int] = set()
        self._kept: deque[int] = deque()
        self._unfetched: dict[str, Waiting] = {}
        """By host, the one that was asked longest ago first. What is not of the web stands under an empty name."""
        self._doubtful: Waiting = deque()
        """Documents over which too many workers were lost for another one to be risked together with others."""
        self._sites: dict[str, str] = {}
        """Each beginning of an address once: thousands of documents have the same."""
        self._is_alone = False

    def next(self, *, is_idle: bool) -> Work | None:
        """The next work; None: there is none now, and perhaps one when another has ended.

        `is_idle`: no other work is under way. Then a document may be fetched alone, so that no other one is suspected
        where the worker is lost.
        """
        if self._lists:
            return listing.ask(self._slice, self._hosts, self._lists.popleft())
        if self._is_alone and not is_idle:
            return None
        self._is_alone = False
        if self._slice.has_reached and not self._kept and not self._unfetched:
            self._load()
        work = self._next()
        if work is None and is_idle and self._slice.has_reached:  # all that was read before waits for hosts
            self._load()
            work = self._next()
        if work is None and is_idle:
            work = self._first(self._doubtful)
            self._is_alone = work is not None
            self._doubtful.rotate(-1)  # the next one may be of another host
        return work

    def _next(self) -> Work | None:
        if self._kept:
            return documents.bring_on(self._slice, self._hosts, self._attempts, self._kept.popleft(), "", None)
        for _ in range(min(MOST_LEFT_OUT, len(self._unfetched))):
            host = next(iter(self._unfetched))
            waiting = self._unfetched.pop(host)
            work = self._first(waiting)
            if waiting:
                self._unfetched[host] = waiting
            if work is not None:
                return work
        return None

    def _first(self, waiting: Waiting) -> Work | None:
        """Fetches the first of these documents, if its host may be asked now; those behind it come next."""
        if not waiting:
            return None
        pk, site = waiting[0]
        wait = self._hosts.begin(site) if site else 0.0
        if wait is None:
            return None
        waiting.popleft()
        following = [pk for pk, _ in islice(waiting, self._attempts.room)]
        return documents.bring_on(self._slice, self._hosts, self._attempts, pk, site, wait, following)

    def _load(self) -> None:
        """Reads which documents wait: those whose text is kept come first, so that they can be found soon."""
        self._slice.has_reached = False
        documents_due = due(self._slice).order_by(F("fetched").desc(), "-is_urgent", "pk")
        waiting = list(documents_due.values_list("pk", "fetched", "reached", "attempts"))
        sites = self._sites_of([pk for pk, *_ in waiting if pk not in self._loaded])
        for pk, fetched, reached, attempts in waiting:
            if pk in self._loaded:
                continue
            self._loaded.add(pk)
            site = sites.get(pk, "")
            is_left_out = not self._slice.crawls and bool(site)
            if fetched >= self._slice.sync or reached < self._slice.sync or is_left_out:
                self._kept.append(pk)
            elif attempts >= WORKERS_LOST - 1:
                self._doubtful.append((pk, site))
            else:
                self._unfetched.setdefault(host_of(site), deque()).append((pk, site))

    def _sites_of(self, keys: Sequence[int]) -> dict[int, str]:
        """Of documents of the web the address without its path, which may be long and tells nothing about its host."""
        sites: dict[int, str] = {}
        for start in range(0, len(keys), ROWS_AT_ONCE):
            some = rows(self._slice.pk).filter(pk__in=keys[start : start + ROWS_AT_ONCE])
            for pk, location in some.values_list("pk", "location"):
                if documents.is_of_web(location):
                    site = urljoin(location, "/")
                    sites[pk] = self._sites.setdefault(site, site)
        return sites

"""DuckDuckGo's search, as the library `ddgs` reads it: that one engine of it, and no other.

The library cannot be interrupted, so a search runs on a thread of its own, at most AT_ONCE in a process, and is left to
itself when its call is over. It is imported with the first search: that takes a tenth of a second and 23 MB.
"""

import functools
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings

from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.resilience.deadlines import Errand
from bots.tools import servers
from bots.tools.regions import region_of
from bots.tools.tool import Context, ToolFault
from bots.tools.web import Page, Search, page

SERVER: Final = "duckduckgo"
MOST_RESULTS: Final = 10
AT_ONCE: Final = 4
SECONDS: Final = 10
LONGEST_ANSWER: Final = 1_000_000
"""Bytes, unpacked. A usual page has some 50,000."""
CHUNK: Final = 65_536
LONGEST_TEXT: Final = 4000
KEPT_SECONDS: Final = 600.0
MOST_KEPT: Final = 500

THROTTLED: Final = "DuckDuckGo is throttling searches from this server. Try again later."
SILENT: Final = "DuckDuckGo did not answer in time."
UNREACHABLE: Final = "DuckDuckGo cannot be reached."
FAILED: Final = "DuckDuckGo failed. Try again later."
TOO_LARGE: Final = "DuckDuckGo's answer is too large."
THROTTLING: Final = frozenset({HTTPStatus.ACCEPTED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS, 418})
"""It answers 202 with a puzzle for people where it takes the searcher for a program."""

_places = threading.BoundedSemaphore(AT_ONCE)


class _Kept:
    """Searches of the last ten minutes with what they found, the oldest first."""

    def __init__(self) -> None:
        self._pages: OrderedDict[Search, tuple[float, list[Page]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, wanted: Search) -> list[Page] | None:
        with self._lock:
            since, pages = self._pages.get(wanted, (0.0, []))
        return pages if pages and time.monotonic() - since < KEPT_SECONDS else None

    def put(self, wanted: Search, pages: list[Page]) -> None:
        with self._lock:
            self._pages[wanted] = (time.monotonic(), pages)
            self._pages.move_to_end(wanted)
            while len(self._pages) > MOST_KEPT:
                self._pages.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._pages.clear()


kept = _Kept()


def search(wanted: Search, context: Context) -> list[Page]:
    """What DuckDuckGo finds, in its order, or has found for an equal search lately. Raises ToolFault."""
    if (pages := kept.get(wanted)) is not None:
        return pages
    with servers.place(SERVER, context):
        errand = Errand(functools.partial(_work, wanted, context.interruption))
        seconds = min(servers.WAIT_SECONDS + SECONDS, context.deadline - time.monotonic())
        try:
            pages = context.interruption.result(errand, seconds)
        except TimeoutError:
            raise ToolFault(SILENT, "timeout", counts=True) from None
        except Interrupted:
            raise servers.stopped() from None
    if pages:
        kept.put(wanted, pages)
    return pages


def _work(wanted: Search, interruption: Interruption) -> list[Page]:
    """Asks, as soon as one of the threads may. Raises ToolFault."""
    if not _places.acquire(timeout=servers.WAIT_SECONDS):
        raise ToolFault(servers.BUSY, "busy")
    try:
        return [] if interruption.requested else _ask(wanted)
    finally:
        _places.release()


def _ask(wanted: Search) -> list[Page]:
    """Raises ToolFault, and nothing that quotes the query."""
    engine = _engine()(proxy=settings.OUTBOUND_PROXY or None, timeout=SECONDS)
    entries = engine.search(wanted.query, region=region_of(wanted.locale), timelimit=wanted.time_limit)
    pages = [page(entry.title, entry.href, entry.body, longest=LONGEST_TEXT) for entry in entries or ()]
    return [known for known in pages if known is not None and known.url][: wanted.most]


@functools.cache
def _engine() -> Any:
    """The library's engine, which reads no page without end, follows nobody, and says why it has none."""
    import primp  # noqa: PLC0415  see above
    from ddgs.engines.duckduckgo import Duckduckgo  # noqa: PLC0415

    class Engine(Duckduckgo):
        search_url = settings.DUCKDUCKGO_URL

        def request(self, method: str, url: str, **options: Any) -> str:
            try:
                answer = self.http_client.client.request(method, url, follow_redirects=False, stream=True, **options)
                if answer.status_code in THROTTLING:
                    raise ToolFault(THROTTLED, "throttled")
                if answer.status_code != HTTPStatus.OK:
                    raise ToolFault(FAILED, "failed")
                return _read(answer)
            except primp.TimeoutError:
                raise ToolFault(SILENT, "timeout", counts=True) from None
            except (primp.ConnectError, primp.DNSError):
                raise ToolFault(UNREACHABLE, "unreachable", counts=True) from None
            except primp.PrimpError:
                raise ToolFault(FAILED, "failed") from None

    return Engine


def _read(answer: Any) -> str:
    """The page, unpacked. Raises ToolFault for one of more than LONGEST_ANSWER."""
    body = bytearray()
    with answer:
        for chunk in answer.iter_bytes(CHUNK):
            body += chunk
            if len(body) > LONGEST_ANSWER:
                raise ToolFault(TOO_LARGE, "too_large")
    return body.decode("utf-8", "replace")

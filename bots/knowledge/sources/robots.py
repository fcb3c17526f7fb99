"""What a site's robots.txt and its `X-Robots-Tag` say to crawlers, as RFC 9309 has it.

A robots.txt is kept in this process for an hour. Who cannot be asked for one forbids everything, for a minute.
"""

import contextlib
import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urljoin

from django.conf import settings

from bedrock_chat.outbound.downloading import download
from bedrock_chat.outbound.exchange import USER_AGENT
from bedrock_chat.outbound.faults import OutboundFault, TooManyRedirects
from bots.knowledge.sources.locations import FetchContext, SourceFault, not_fetched
from bots.knowledge.sources.scope import host_of

MOST_BYTES: Final = 500_000
MOST_REDIRECTS: Final = 5
SECONDS: Final = 10.0
"""For one robots.txt."""
KEPT_SECONDS: Final = 3600.0
REFUSED_SECONDS: Final = 60.0
MOST_KEPT_BYTES: Final = 4_000_000
MOST_KEPT_SITES: Final = 1_000
LONGEST_DELAY: Final = 10.0
"""Seconds between two pages that a site may ask for. Who asks for more gets this."""
LONGEST_RETRY: Final = 3600.0
DISALLOWED: Final = "robots.txt does not allow it."

_AGENT_LINE: Final = re.compile(r"\s*user[- ]?agent\b[\s:]*(\*(?!\S)|[A-Za-z_-]*)", re.IGNORECASE)
_WITH_VALUE: Final = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


@dataclass(frozen=True, slots=True)
class Rules:
    """What one site says. `parsed` is Protego's, and None allows all. `refusal`: nothing may be fetched for now."""

    parsed: Any = None
    refusal: SourceFault | None = None

    @property
    def delay(self) -> float:
        """Seconds between two pages that the site asks for, within LONGEST_DELAY."""
        delay = self.parsed.crawl_delay(USER_AGENT) if self.parsed else None
        return min(float(delay or 0), LONGEST_DELAY)

    def check(self, url: str) -> None:
        """Raises SourceFault where a URL may not be fetched."""
        if self.refusal is not None:
            fault = self.refusal
            raise SourceFault(fault.sentence, blame=fault.blame, retry_after=fault.retry_after)
        if self.parsed is not None and not self.parsed.can_fetch(url, USER_AGENT):
            raise SourceFault(DISALLOWED)


def check(url: str, context: FetchContext, deadline: float) -> None:
    """Asks the URL's site whether it may be fetched. Raises SourceFault where it may not, and Interrupted."""
    site = _site_of(url)
    rules = _kept.get(site)
    if rules is None:
        rules, size = _fetched(site, context, min(deadline, time.monotonic() + SECONDS))
        _kept.put(site, rules, size)
    rules.check(url)


def is_known(url: str) -> bool:
    """Whether the rules of the URL's site are known here; else they are asked for before the URL is."""
    return _kept.get(_site_of(url)) is not None


def seconds_between(url: str) -> float:
    """Seconds between two pages of the URL's host: by the operator's bound and what its site asks for, if it is known
    here already.
    """
    rules = _kept.get(_site_of(url))
    pages: float = settings.CRAWL_PAGES_PER_MINUTE
    return max(60 / pages, rules.delay if rules else 0.0)


def forget() -> None:
    """Drops what is kept of all sites."""
    _kept.clear()


def _site_of(url: str) -> str:
    return urljoin(url, "/robots.txt")


# ---- robots.txt -----------------------------------------------------------------------------------------------------


def _fetched(site: str, context: FetchContext, deadline: float) -> tuple[Rules, int]:
    """A site's rules, and how many bytes they came from."""
    hosts = {host_of(site)}

    def hop(address: str) -> None:
        with contextlib.suppress(ValueError):  # what is no address is not asked
            host = host_of(address)
            context.await_turn(address, 1, deadline, is_first=host not in hosts)
            hosts.add(host)

    try:
        downloaded = download(
            site,
            headers={"Accept": "text/plain, */*;q=0.1"},
            most_bytes=MOST_BYTES,
            most_redirects=MOST_REDIRECTS,
            deadline=deadline,
            interruption=context.interruption,
            folder=context.folder,
            before_redirect=hop,
            truncates=True,
        )
    except TooManyRedirects:
        return Rules(), 0  # RFC 9309 (2.3.1.2): as one that does not exist
    except OutboundFault as fault:
        return Rules(refusal=not_fetched(fault)), 0
    if downloaded.path is not None:
        try:
            text = downloaded.path.read_bytes().decode("utf-8", "replace")
        finally:
            downloaded.path.unlink(missing_ok=True)
        return Rules(parsed(text)), downloaded.size
    if downloaded.status >= HTTPStatus.INTERNAL_SERVER_ERROR or downloaded.status == HTTPStatus.TOO_MANY_REQUESTS:
        sentence = f"robots.txt: answered {downloaded.status}."
        return Rules(refusal=SourceFault(sentence, retry_after=retry_after(downloaded.headers.get("retry-after")))), 0
    return Rules(), 0


def parsed(text: str) -> Any:
    """The rules for all crawlers and for this one. Those for others share one name that is nobody's: a rule is kept for
    every agent that its group names, so that a file with thousands of both would fill the memory.
    """
    from protego import Protego  # noqa: PLC0415  no request of a client needs it

    lines = list[str]()
    for line in text.removeprefix("\ufeff").splitlines():
        match = _AGENT_LINE.match(line)
        if match is None:
            lines.append(line)
            continue
        agent = match[1].lower()
        lines.append(f"User-agent: {agent if agent in ('*', USER_AGENT) else '-'}")
    return Protego.parse("\n".join(lines))


def retry_after(value: str | None) -> float | None:
    """The seconds of a `Retry-After`, an hour at most. A date, which few servers send, counts as a minute."""
    if value is None:
        return None
    seconds = value.strip()
    return min(float(seconds[:9]), LONGEST_RETRY) if seconds.isascii() and seconds.isdigit() else 60.0


class _KeptRules:
    """Rules by site, the least recently used dropped first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[Rules, int, float]] = OrderedDict()
        self._bytes = 0

    def get(self, site: str) -> Rules | None:
        with self._lock:
            entry = self._entries.get(site)
            if entry is None or entry[2] < time.monotonic():
                return None
            self._entries.move_to_end(site)
            return entry[0]

    def put(self, site: str, rules: Rules, size: int) -> None:
        seconds = KEPT_SECONDS if rules.refusal is None else REFUSED_SECONDS
        with self._lock:
            self._drop(site)
            self._entries[site] = rules, size, time.monotonic() + seconds
            self._bytes += size
            while len(self._entries) > MOST_KEPT_SITES or self._bytes > MOST_KEPT_BYTES:
                self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def _drop(self, site: str) -> None:
        _, size, _ = self._entries.pop(site, (None, 0, 0))
        self._bytes -= size


_kept = _KeptRules()


# ---- X-Robots-Tag ---------------------------------------------------------------------------------------------------


def tagged(value: str) -> tuple[bool, bool]:
    """Whether a page with this `X-Robots-Tag` is indexed, and whether its links are followed.

    A directive belongs to the agent before it, if there is one: `otherbot: noindex, nofollow`.
    """
    words = set[str]()
    is_ours = True
    for part in value.lower().split(","):
        name, colon, rest = part.partition(":")
        if colon and name.strip() not in _WITH_VALUE:
            is_ours = name.strip() in ("*", USER_AGENT)
            words |= {rest.strip()} if is_ours else set()
        elif is_ours:
            words.add(part.strip())
    return not words & {"noindex", "none"}, not words & {"nofollow", "none"}

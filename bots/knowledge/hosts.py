"""When a slice may fetch from which host: a turn of the host that all workers share, and a place of this process."""

import time
from collections import Counter
from typing import Final

from bedrock_chat.process.interruption import Interrupted
from bots.knowledge.sources import pace, robots
from bots.knowledge.sources.scope import host_of

MOST_TURNED_BACK: Final = 8
"""Documents of a host in a slice that could not follow a redirect, before the host itself is left alone meanwhile."""


class HostBusy(Interrupted):
    """A redirect leads to a host that has no turn within LONGEST_WAIT: the document comes again later."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Place:
    """A place that `Hosts.begin` has taken for an address. It is given back once, however often that is asked."""

    def __init__(self, url: str) -> None:
        self._host: str | None = host_of(url)

    def leave(self) -> None:
        """The fetch is over."""
        host, self._host = self._host, None
        if host is not None:
            pace.give_place_back(host)


class Hosts:
    """The hosts that a slice has asked for a turn. Only the slice's own thread uses it, outside any transaction."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._turned_back = Counter[str]()

    def begin(self, url: str) -> float | None:
        """Takes a place and a turn. Returns in how many seconds the fetch may begin; None: another host comes first."""
        host = host_of(url)
        if self._until.get(host, 0.0) > time.monotonic() or not pace.take_place(host):
            return None
        try:
            requests = 1 if robots.is_known(url) else 2  # its robots.txt is asked for first
            wait = pace.turn(host, robots.seconds_between(url), requests=requests)
        except BaseException:
            pace.give_place_back(host)
            raise
        if wait > pace.LONGEST_WAIT:
            pace.give_place_back(host)
            self._until[host] = time.monotonic() + wait
            return None
        return wait

    def hop(self, url: str, requests: int, is_first: bool) -> float:
        """Takes turns for a redirect, before it is followed. Returns in how many seconds it may be. Raises HostBusy.

        A host that the fetch has been to is not turned back from: its next turn may always be too far away.
        """
        host, seconds = host_of(url), robots.seconds_between(url)
        if not is_first:
            return min(pace.LONGEST_WAIT, pace.take(host, seconds, requests=requests))
        wait = max(0.0, self._until.get(host, 0.0) - time.monotonic()) or pace.turn(host, seconds, requests=requests)
        if wait > pace.LONGEST_WAIT:
            self._until[host] = time.monotonic() + wait
            raise HostBusy(wait)
        return wait

    def turn_back(self, url: str, seconds: float) -> None:
        """A document could not follow its redirect. All pages of its host may lead there, and be asked for in vain."""
        host = host_of(url)
        self._turned_back[host] += 1
        if self._turned_back[host] >= MOST_TURNED_BACK:
            self._until[host] = time.monotonic() + seconds

    def postpone(self, url: str, seconds: float) -> None:
        """The host has asked for a pause."""
        host = host_of(url)
        pace.postpone(host, seconds)
        self._until[host] = time.monotonic() + seconds

    @property
    def shortest_wait(self) -> tuple[float, str] | None:
        """In how many seconds a host that was left out may be asked again, and which one that is."""
        now = time.monotonic()
        waits = [(until - now, host) for host, until in self._until.items() if until > now]
        return min(waits, default=None)

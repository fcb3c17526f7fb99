"""When a slice may fetch from which host: a turn of the host that all workers share, and a place of this process."""

import time
from collections import Counter, deque
from contextlib import suppress

from bots.knowledge.sources import pace, robots
from bots.knowledge.sources.scope import host_of


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

    def count(self, urls: deque[str]) -> None:
        """Takes turns for addresses that were asked without any, and removes them. A redirect may lead anywhere."""
        requests = Counter[str]()
        seconds: dict[str, float] = {}
        while urls:
            url = urls.popleft()
            with suppress(ValueError):  # what is no address was not asked
                host = host_of(url)
                requests[host] += 1
                seconds[host] = robots.seconds_between(url)
        for host, number in requests.items():
            pace.count(host, seconds[host], requests=number)

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

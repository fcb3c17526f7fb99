"""Which addresses belong to a bot's web: how a URL is written, what a seed covers, and what the filters let pass.

Without network and database: the same URL is judged the same way wherever it was found.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from bedrock_chat.outbound.faults import NotAllowed
from bedrock_chat.outbound.targets import PORTS, parse
from bots.knowledge.sources.locations import LONGEST_LOCATION, SourceFault
from bots.knowledge.states import Blame

MOST_SEGMENTS: Final = 20
"""Of a path. Sites that make up addresses without end make long ones."""
Reach = Literal["DEFAULT", "HOST_ONLY", "SUBDOMAINS"]

_ESCAPE: Final = re.compile(r"%(?:([0-9A-Fa-f]{2}))?")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


# ---- How a URL is written -------------------------------------------------------------------------------------------


def normalised(url: str) -> str:
    """The one spelling of a URL: RFC 3986's normal form, without fragment, default port and `utm_…`.

    The order of a query is kept, since it may mean something. Raises NotAllowed for what is no address of the web.
    """
    target = parse(url)
    path, _, query = target.resource.partition("?")
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if target.port == PORTS[target.scheme] else f":{target.port}"
    query = "&".join(part for part in _escaped(query).split("&") if not part.lower().startswith("utm_"))
    return f"{target.scheme}://{host}{port}{_without_dots(_escaped(path))}{query and '?'}{query}"


def _escaped(text: str) -> str:
    """Percent-encoding in one way: letters that need none are written out, a `%` that begins none is one itself."""
    return _ESCAPE.sub(_one_way, text)


def _one_way(match: re.Match[str]) -> str:
    digits: str | None = match[1]
    if digits is None:
        return "%25"
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else f"%{digits.upper()}"


def _without_dots(path: str) -> str:
    """Resolves `.` and `..` as RFC 3986 (5.2.4) says."""
    segments = list[str]()
    *folders, last = path.split("/")[1:]
    for segment in folders:
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    if last == "..":
        del segments[-1:]
    return "/".join(["", *segments, "" if last in (".", "..") else last])


def is_endless(url: str) -> bool:
    """Whether a normalised URL is as long as only those are that a site makes up without end."""
    return len(url) > LONGEST_LOCATION or sum(map(bool, urlsplit(url).path.split("/"))) > MOST_SEGMENTS


def host_of(url: str) -> str:
    """The host of a normalised URL, without its port: what pages a minute and fetches at a time are counted by."""
    return urlsplit(url).hostname or ""


# ---- What a seed covers ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seed:
    """A web address where crawling begins. `url` is normalised; `folder` are the segments that a path must extend."""

    url: str
    reach: Reach
    site: tuple[str, int]
    folder: tuple[str, ...] = ()

    @classmethod
    def of(cls, url: str, reach: Reach) -> Self:
        """Raises NotAllowed."""
        address = normalised(url)
        host, port = _site(address)
        segments = tuple(filter(None, urlsplit(address).path.split("/")))
        if segments and "." in segments[-1] and not urlsplit(address).path.endswith("/"):
            segments = segments[:-1]  # a page's file stands for its folder
        if reach == "SUBDOMAINS" and host.startswith("www.") and "." in host.removeprefix("www."):
            host = host.removeprefix("www.")
        return cls(address, reach, (host, port), segments if reach == "DEFAULT" else ())

    def covers(self, url: str) -> bool:
        """Whether a normalised URL is within the seed's scope."""
        host, port = _site(url)
        own_host, own_port = self.site
        is_own = host == own_host or (self.reach == "SUBDOMAINS" and host.endswith(f".{own_host}"))
        if not is_own or port != own_port:
            return False
        segments = tuple(filter(None, urlsplit(url).path.split("/")))
        return segments[: len(self.folder)] == self.folder


def _site(url: str) -> tuple[str, int]:
    """Host and port of a normalised URL. http and https on their own ports are one site."""
    parts = urlsplit(url)
    port = parts.port or PORTS[parts.scheme]
    return parts.hostname or "", PORTS["https"] if port == PORTS["http"] else port


# ---- Filters --------------------------------------------------------------------------------------------------------


class PatternRefused(ValueError):
    """RE2 takes no such expression. `pattern` is the first one that it refuses."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        super().__init__(f"{pattern} is no regular expression that RE2 reads.")


def patterns(texts: Iterable[str]) -> tuple[Any, ...]:
    """Compiled expressions, blank ones left out. RE2 takes linear time, and refuses look-around and back references.

    Raises PatternRefused.
    """
    return _compiled(tuple(text for text in texts if text.strip()))


@lru_cache(maxsize=64)
def _compiled(texts: tuple[str, ...]) -> tuple[Any, ...]:
    import re2  # noqa: PLC0415  few requests of clients need it

    options = re2.Options()
    options.log_errors = False  # or it writes to the process's stderr
    compiled = list[Any]()
    for text in texts:
        try:
            compiled.append(re2.compile(text, options=options))
        except (re2.error, UnicodeError):
            raise PatternRefused(text) from None
    return tuple(compiled)


@dataclass(frozen=True, slots=True, eq=False)
class Web:
    """What of the web a bot reads: its seeds in their order, and the filters that hold for all of them.

    Each is itself alone, so that what was judged for one is found again quickly.
    """

    seeds: tuple[Seed, ...]
    include: tuple[Any, ...] = ()
    exclude: tuple[Any, ...] = ()

    @classmethod
    def of(cls, urls: Iterable[str], reach: Reach, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> Self:
        """Addresses that are none cover nothing. Raises SourceFault for a pattern that RE2 refuses."""
        seeds = list[Seed]()
        for url in urls:
            try:
                seeds.append(Seed.of(url, reach))
            except NotAllowed:
                continue
        try:
            return cls(tuple(seeds), patterns(include), patterns(exclude))
        except PatternRefused as refused:
            raise SourceFault(f"The pattern {refused}", blame=Blame.OWNER) from None

    def owner(self, url: str) -> str | None:
        """The first seed that covers a normalised URL."""
        return next((seed.url for seed in self.seeds if seed.covers(url)), None)

    def passes(self, url: str) -> bool:
        """Whether the filters let a normalised URL pass. They look at the whole of it; exclusion comes first."""
        if any(pattern.search(url) for pattern in self.exclude):
            return False
        return not self.include or any(pattern.search(url) for pattern in self.include)

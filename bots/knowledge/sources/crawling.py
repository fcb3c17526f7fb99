"""What a crawl does next, decided without network and database: where it begins, and where a page leads to."""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final
from urllib.parse import urljoin

from bedrock_chat.outbound.faults import NotAllowed
from bots.knowledge.reading.pages import Reading
from bots.knowledge.sources import kinds
from bots.knowledge.sources.locations import Discovered, Fetched, Location, Role, SourceFault
from bots.knowledge.sources.scope import Web, host_of, is_endless, normalised
from bots.knowledge.states import Blame

MOST_LINKS: Final = 10_000
"""Of one page. Further ones are left out."""
CACHED_LINKS: Final = 8_192
NOWHERE: Final = Location("web", "", "")
TOO_LONG: Final = "This address is too long, or has too many parts."
_LINE_BREAKS: Final = re.compile(r"[\t\r\n]")


def seed(url: str) -> Location:
    """The page where crawling begins. It is always read for its links. Raises SourceFault."""
    address = address_of(url)
    return Location("web", address, kinds.name_of(address), link=address, owner=address, role="page")


def address_of(url: str) -> str:
    """The normalised URL of a source. Raises SourceFault."""
    try:
        address = normalised(url)
    except NotAllowed as fault:
        raise SourceFault(fault.reason, blame=Blame.OWNER) from None
    if is_endless(address):
        raise SourceFault(TOO_LONG, blame=Blame.OWNER)
    return address


def location(url: str, web: Web, *, is_listed: bool) -> Location:
    """A known document of the web, by its normalised URL. `is_listed`: its source is a sitemap."""
    owner = web.owner(url)
    if is_listed:
        return Location("web", url, kinds.name_of(url), link=url, role="listed")
    role: Role = "linked" if owner is None else "page"
    return Location("web", url, kinds.name_of(url), link=url, owner=owner or "", role=role)


def kept(fetched: Fetched, reading: Reading) -> Reading:
    """The reading as it is to be kept: with what the answer's headers say, which an answer 304 does not repeat."""
    if fetched.is_followed and fetched.is_indexed:
        return reading
    return replace(
        reading,
        is_indexed=reading.is_indexed and fetched.is_indexed,
        is_followed=reading.is_followed and fetched.is_followed,
    )


def discovered(web: Web, fetched: Fetched, reading: Reading) -> Discovered:
    """What a document is and where it leads to, now that it was read. Raises SourceFault for one that has led out of
    what its seed covers.

    Only the links of a page within a seed's scope are followed: to pages within any seed's scope, and to files
    anywhere, from which nothing is followed any more.
    """
    if fetched.location.kind != "web":
        return Discovered(fetched.location, is_kept=True)
    final = normalised(fetched.final_url or fetched.location.location)
    own = _named(web, fetched.location, final, reading)
    is_covered = own.role != "page" or own.location != fetched.location.location or web.owner(final) is not None
    is_kept = is_covered and fetched.is_indexed and reading.is_indexed and web.passes(own.location)
    if own.role != "page" or not (fetched.is_followed and reading.is_followed):
        return Discovered(own, is_kept)
    locations, skipped = _linked(web, final, own, reading)
    return Discovered(own, is_kept, tuple(locations.values()), skipped)


def shares(web: Web, seed: str, discovered: Discovered) -> bool:
    """Whether a seed's page is a document of another seed's, or leads to any that this one covers, too."""
    own = next((one for one in web.seeds if one.url == seed), None)
    if own is None:
        return False
    others = (one for one in discovered.locations if own.covers(one.location))
    return any(one.owner not in ("", seed) for one in (discovered.location, *others))


def _named(web: Web, fetched: Location, final: str, reading: Reading) -> Location:
    """The location that names a document: what the page says of itself where that is within scope, else where it was
    found. A seed that leads elsewhere on its host stays itself. Raises SourceFault.
    """
    if fetched.role != "page":
        return fetched
    canonical = _link(final, reading.canonical) if reading.canonical else None
    address = canonical if canonical is not None and web.owner(canonical) is not None else final
    if address == fetched.location:
        return fetched
    if web.owner(address) is not None:
        return location(address, web, is_listed=False)
    if fetched.owner != fetched.location:
        raise SourceFault("It leads to an address outside of what is crawled.", is_skipped=True)
    if host_of(address) != host_of(fetched.location):
        raise SourceFault(f"It leads to {host_of(address)}, which is outside of what is crawled.")
    return fetched


def _linked(web: Web, base: str, own: Location, reading: Reading) -> tuple[dict[str, Location], int]:
    """Where a page leads to, each address once, and how many addresses are not read."""
    locations: dict[str, Location] = {}
    skipped = set[str]()
    for reference in reading.links[:MOST_LINKS]:
        address = _link(base, reference)
        if address is None or address in locations or address == own.location:
            continue
        judgement = _judged(web, address)
        if judgement is None:
            skipped.add(address)
        elif judgement is not NOWHERE:
            locations[address] = judgement
    return locations, len(skipped)


@lru_cache(maxsize=CACHED_LINKS)
def _judged(web: Web, address: str) -> Location | None:
    """The document at an address that a page leads to; NOWHERE if it is none of this web's, None if it is not read.

    The menu of a site is on each of its pages, so that most links were judged before.
    """
    owner = web.owner(address)
    if owner is None and kinds.kind_of_url(address) in (None, kinds.PAGES):
        return NOWHERE
    if kinds.is_unread(address) or not web.passes(address):
        return None
    role: Role = "linked" if owner is None else "page"
    return Location("web", address, kinds.name_of(address), link=address, owner=owner or "", role=role)


def _link(base: str, reference: str) -> str | None:
    """A link as a normalised URL; None for what is none of the web, or too long. Browsers take line breaks out of it
    and write blanks as `%20`.
    """
    text = _LINE_BREAKS.sub("", reference).strip().replace(" ", "%20")
    if not text.startswith(("http://", "https://")):
        try:
            text = urljoin(base, text)
        except ValueError:
            return None
    return _written(text)


@lru_cache(maxsize=CACHED_LINKS)
def _written(url: str) -> str | None:
    try:
        address = normalised(url)
    except NotAllowed:
        return None
    return None if is_endless(address) else address

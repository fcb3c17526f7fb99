"""Sitemaps: which pages a site says that it has. https://www.sitemaps.org/protocol.html, and plain lists of addresses.

Nothing of a sitemap is held in memory but its addresses: the XML goes through piece by piece, and gzip is counted while
it is unpacked.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bedrock_chat.outbound.downloading import GZIP_MAGIC, gunzipped
from bedrock_chat.outbound.faults import MEGABYTE, NotAllowed, OutboundFault
from bots.knowledge.sources import fetching, kinds
from bots.knowledge.sources.crawling import address_of
from bots.knowledge.sources.locations import FetchContext, Listed, Location, SourceFault
from bots.knowledge.sources.scope import Web, host_of, is_endless, normalised

MOST_BYTES: Final = 50 * MEGABYTE
"""Of one sitemap, unpacked, as the protocol has it."""
MOST_ADDRESSES: Final = 50_000
MOST_CHARACTERS: Final = 20_000_000
"""Of all addresses of one sitemap, which are in memory together: 400 for each of the most that there may be."""
MOST_SITEMAPS: Final = 500
"""That one source leads to."""
DEEPEST: Final = 3
"""An index is 1 deep; what its indexes name is 2 and 3 deep."""
MOST_ELEMENTS: Final = 2_000_000
LONGEST_TEXT: Final = 4_096
LONGEST_CHANGED: Final = 64
PIECE_BYTES: Final = 64 * 1024
DAMAGED: Final = "This is no sitemap, or a damaged one."
TOO_MANY: Final = (
    f"A sitemap names more than {MOST_ADDRESSES:,} addresses, or far too long ones; the others are left out."
)


@dataclass(slots=True)
class Sitemap:
    """What one file names: pages with their `lastmod`, and other sitemaps. `note` says why it is not all."""

    pages: list[tuple[str, str]] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)
    note: str = ""
    characters: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.pages) >= MOST_ADDRESSES or self.characters >= MOST_CHARACTERS

    def add_page(self, address: str, changed: str) -> None:
        self.pages.append((address, changed))
        self.characters += len(address)


# ---- A source's sitemaps, one after another -------------------------------------------------------------------------


def listed(url: str, rest: dict[str, Any], web: Web, context: FetchContext) -> Listed:
    """What the next sitemap of a source names. Raises SourceFault where the source's own cannot be read, Interrupted.

    Pages of the sitemap's host are documents where the filters let them pass; the others are counted as skipped.
    """
    queue, seen, hosts = _begin(url, rest)
    (address, depth), *queue = queue
    is_first = not rest
    try:
        sitemap, final = _fetched(address, context)
    except SourceFault as fault:
        if is_first:
            raise
        note = f"A sitemap: {fault.sentence}"
        return Listed(
            (), rest=_rest(queue, seen, hosts), next_url=_next(queue), note=note, retry_after=fault.retry_after
        )
    if is_first:
        hosts = sorted({*hosts, host_of(final)})
    note = sitemap.note
    for reference in sitemap.sitemaps:
        child = _address(reference)
        if child is None or host_of(child) not in hosts or any(child == waiting for waiting, _ in queue):
            continue
        if depth >= DEEPEST or seen >= MOST_SITEMAPS:
            note = note or "An index of sitemaps leads to more of them than are read."
            break
        queue.append((child, depth + 1))
        seen += 1
    locations, skipped = _documents(sitemap, hosts, web)
    return Listed(locations, skipped, rest=_rest(queue, seen, hosts), next_url=_next(queue), note=note)


def _begin(url: str, rest: dict[str, Any]) -> tuple[list[tuple[str, int]], int, list[str]]:
    """Sitemaps that wait with their depth, how many were named so far, and the hosts whose pages are documents."""
    if not rest:
        address = address_of(url)
        return [(address, 1)], 1, [host_of(address)]
    return [(waiting, depth) for waiting, depth in rest["queue"]], rest["seen"], rest["hosts"]


def _rest(queue: list[tuple[str, int]], seen: int, hosts: list[str]) -> dict[str, Any] | None:
    return {"queue": [list(waiting) for waiting in queue], "seen": seen, "hosts": hosts} if queue else None


def _next(queue: list[tuple[str, int]]) -> str:
    return queue[0][0] if queue else ""


def _documents(sitemap: Sitemap, hosts: list[str], web: Web) -> tuple[tuple[Location, ...], int]:
    """The documents that a sitemap names, each once, and how many addresses are none. Empties the sitemap, so that long
    lists are not in memory twice.
    """
    locations: dict[str, Location] = {}
    skipped = 0
    sitemap.pages.reverse()
    while sitemap.pages:
        reference, changed = sitemap.pages.pop()
        address = _address(reference)
        if address is None or host_of(address) not in hosts or kinds.is_unread(address) or not web.passes(address):
            skipped += 1
        elif address not in locations:
            locations[address] = Location("web", address, kinds.name_of(address), link=address, changed=changed)
    return tuple(locations.values()), skipped


def _address(reference: str) -> str | None:
    try:
        address = normalised(reference)
    except NotAllowed:
        return None
    return None if is_endless(address) else address


# ---- One sitemap ----------------------------------------------------------------------------------------------------


def _fetched(url: str, context: FetchContext) -> tuple[Sitemap, str]:
    """A sitemap, and the address that it came from after redirects. Raises SourceFault and Interrupted."""
    downloaded = fetching.get(url, context, seconds=fetching.FILE_SECONDS, bound=MOST_BYTES)
    assert downloaded.path is not None  # nothing was known, so that the answer was 200
    try:
        return read(downloaded.path, context.folder), normalised(downloaded.url)
    finally:
        downloaded.path.unlink(missing_ok=True)


def read(path: Path, folder: Path) -> Sitemap:
    """A sitemap in a file: XML, plain text, or either in gzip. Raises SourceFault for none."""
    with path.open("rb") as file:
        magic = file.read(len(GZIP_MAGIC))
    if magic != GZIP_MAGIC:
        return _read_plain(path)
    with tempfile.NamedTemporaryFile(dir=folder) as unpacked:
        size = 0
        try:
            for piece in gunzipped(_pieces(path)):
                size += len(piece)
                if size > MOST_BYTES:
                    raise SourceFault(f"A sitemap is larger than {MOST_BYTES // MEGABYTE} MB when it is unpacked.")
                unpacked.write(piece)
        except OutboundFault:
            raise SourceFault(DAMAGED) from None
        unpacked.flush()
        return _read_plain(Path(unpacked.name))


def _read_plain(path: Path) -> Sitemap:
    pieces = _pieces(path)
    first = next(pieces, b"").removeprefix(b"\xef\xbb\xbf").lstrip()
    if not first.startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        return _read_text(path)
    return _read_xml(_pieces(path))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _read_text(path: Path) -> Sitemap:
    """An address a line. What is none is left out later, as in XML; a file without any is no sitemap."""
    sitemap = Sitemap()
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        while line := file.readline(LONGEST_TEXT):
            if sitemap.is_full:
                sitemap.note = TOO_MANY
                break
            if line.startswith(("http://", "https://")):
                sitemap.add_page(line.strip(), "")
    if not sitemap.pages:
        raise SourceFault(DAMAGED)
    return sitemap


class _Enough(Exception):
    """A sitemap names more than is read."""


class _Reader:
    """Gets the parser's events. No tree is built, so that a file of nothing but elements takes no memory."""

    def __init__(self, sitemap: Sitemap) -> None:
        self._sitemap = sitemap
        self._elements = 0
        self._parents = list[str]()
        self._texts: dict[str, str] = {}
        self.is_sitemap = False

    def start(self, tag: str, _: object) -> None:
        self._elements += 1
        if self._elements > MOST_ELEMENTS or self._sitemap.is_full:
            self._sitemap.note = TOO_MANY
            raise _Enough
        name = tag.rpartition("}")[2]
        if not self._parents:
            self.is_sitemap = name in ("urlset", "sitemapindex")
            if not self.is_sitemap:
                raise _Enough
        elif len(self._parents) == 1:
            self._texts = {}
        self._parents.append(name)

    def data(self, text: str) -> None:
        if len(self._parents) == 3 and self._parents[2] in ("loc", "lastmod"):
            name = self._parents[2]
            self._texts[name] = (self._texts.get(name, "") + text)[:LONGEST_TEXT]

    def end(self, _: str) -> None:
        name = self._parents.pop()
        address = self._texts.get("loc", "").strip()
        if len(self._parents) != 1 or not address:
            return
        if name == "url":
            self._sitemap.add_page(address, self._texts.get("lastmod", "").strip()[:LONGEST_CHANGED])
        elif name == "sitemap" and len(self._sitemap.sitemaps) < MOST_SITEMAPS:
            self._sitemap.sitemaps.append(address)

    def close(self) -> None:
        """The parser asks for a result; it is in the sitemap."""


def _read_xml(pieces: Iterator[bytes]) -> Sitemap:
    from lxml import etree  # noqa: PLC0415  no request of a client needs it

    sitemap = Sitemap()
    reader = _Reader(sitemap)
    parser = etree.XMLParser(
        target=reader, resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, dtd_validation=False
    )
    try:
        for piece in pieces:
            parser.feed(piece)
        parser.close()
    except etree.LxmlError:
        sitemap.note = sitemap.note or "A sitemap is damaged, and was read up to there."
    except _Enough:
        with contextlib.suppress(etree.LxmlError, _Enough):
            parser.close()
    if not reader.is_sitemap or (sitemap.note and not (sitemap.pages or sitemap.sitemaps)):
        raise SourceFault(DAMAGED)
    return sitemap

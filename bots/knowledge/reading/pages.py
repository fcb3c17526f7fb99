"""What a document's reading yields: pages of text with their headings, and how that is kept as bytes."""

import zlib
from dataclasses import asdict, dataclass
from typing import Final

import orjson

MOST_KEPT_BYTES: Final = 128 * 1024 * 1024
"""How many bytes a kept reading may unpack to. Two million characters of any script, with their headings, fit."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading. `offset` is where it begins in its page's text, in characters; `level` is 1 for the highest."""

    offset: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a PDF, a slide, a sheet, or the whole of a document that has no pages.

    `number` counts the pages of a PDF and slides, from 1. `name` is a sheet's.
    """

    number: int | None
    text: str
    headings: tuple[Heading, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a document. A page without text is left out of `pages`.

    `note` is a sentence about what could not be read, or empty. `empty_pages` are the numbers of a PDF's pages without
    text, which a parsing model may read. The others are of HTML alone: `links` and `canonical` are absolute addresses
    as the page writes them, `is_indexed` and `is_followed` are what its robots tag permits.
    """

    pages: tuple[Page, ...]
    title: str = ""
    note: str = ""
    empty_pages: tuple[int, ...] = ()
    links: tuple[str, ...] = ()
    canonical: str = ""
    is_indexed: bool = True
    is_followed: bool = True


class OtherEngine(Exception):
    """The first library for this type fails at this document; the second one may read it."""


class Unreadable(Exception):
    """Nothing of a document could be read. `sentence` says why.

    `reading` holds what is known all the same: a page's links, a PDF's pages without text. It has no pages.
    `is_of_server`: it is a fault of this server, and not of the document.
    """

    def __init__(self, sentence: str, reading: Reading = Reading(()), *, is_of_server: bool = False) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.reading = reading
        self.is_of_server = is_of_server


def dump(reading: Reading) -> bytes:
    """The reading as compressed bytes, to be kept. The same reading gives the same bytes."""
    return zlib.compress(orjson.dumps(asdict(reading)), 6)


def load(body: bytes, *, most_bytes: int = MOST_KEPT_BYTES) -> Reading:
    """The reading that `dump` made these bytes of. Raises ValueError for others, and for more than `most_bytes`."""
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(body, most_bytes)
    except zlib.error as error:
        raise ValueError("This is no kept reading.") from error
    if not unpacking.eof:
        raise ValueError("This reading is cut off, or too large.")
    try:
        return _reading(orjson.loads(content))
    except (KeyError, TypeError, orjson.JSONDecodeError) as error:
        raise ValueError("This is no kept reading.") from error


def _reading(fields: dict[str, object]) -> Reading:
    """The reading of a JSON object. Raises KeyError and TypeError for other shapes."""
    pages = tuple(
        Page(**{**page, "headings": tuple(Heading(**heading) for heading in page["headings"])})
        for page in _objects(fields["pages"])
    )
    lists = {name: tuple(_objects(fields[name])) for name in ("empty_pages", "links")}
    return Reading(**{**fields, **lists, "pages": pages})  # type: ignore[arg-type]


def _objects(value: object) -> list:
    if not isinstance(value, list):
        raise TypeError
    return value

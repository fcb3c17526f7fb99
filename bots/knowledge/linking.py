"""The addresses of a bot's documents, as somebody who may use the bot can open them now. Nothing of this is stored.

A web page has its URL. A file and an object in S3 have an address that holds for BLOB_URL_SECONDS: a browser shows a
PDF, so that `#page=3` works, and saves all else. An address that this server serves ends when the document goes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from django.db.models import F, Q

from bedrock_chat.blobs import links, s3_folders, storing
from bedrock_chat.blobs.links import Holder
from bedrock_chat.database.connections import release_connection
from bots import files
from bots.knowledge.models import Document
from bots.knowledge.sources import kinds, s3
from bots.knowledge.states import EditionState

SCHEME: Final = "s3://"
HOLDER: Final = "document"
"""The kind that addresses of files name, with the document's number."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is: on the web, in the storage of files (`body` is its digest), or in somebody's bucket."""

    name: str
    link: str
    body: str
    location: str

    @property
    def source_name(self) -> str:
        """What readers of an answer read: the address of a page, else the last part of a file's or an object's name."""
        return self.link or self.name.rpartition("/")[2] or self.name


_FOUND: Final = Q(editions__state=EditionState.LIVE, editions__index=F("knowledge__serving"))


def has_file(number: int, sha256: str) -> bool:
    """Whether searches still find a document, and find in it what this file says. One query."""
    return Document.objects.filter(_FOUND, pk=number, knowledge__bot__isnull=False, editions__body=sha256).exists()


def addresses(numbers: Collection[int], bot_id: str) -> dict[int, str]:
    """Document's number → its address. One query, two where the storage signs its addresses, none without a number.

    Left out are documents of other bots, those that are not there any more, and those in buckets that operators do not
    name now. For objects in S3 the database connection is released.
    """
    return of_places(places(numbers, bot_id)) if numbers else {}


def places(numbers: Collection[int], bot_id: str) -> dict[int, Place]:
    """Document's number → where it is, of documents of this bot that searches find. One query."""
    rows = Document.objects.filter(_FOUND, pk__in=numbers, knowledge__bot=bot_id).values_list(
        "pk", "name", "link", "editions__body", "location"
    )
    return {pk: Place(kinds.seen(name), *columns) for pk, name, *columns in rows}


def of_places(places: Mapping[int, Place]) -> dict[int, str]:
    """Document's number → address, for those that have one. The database connection may be released."""
    bodies = [place.body for place in places.values() if place.body]
    stored = storing.locate(bodies) if bodies and links.storage_signs() else {}
    if any(place.location.startswith(SCHEME) for place in places.values()):
        release_connection()  # credentials may be a network away
    made = {number: _address(number, place, stored) for number, place in places.items()}
    return {number: address for number, address in made.items() if address}


def _address(number: int, place: Place, stored: Mapping[str, str]) -> str:
    if place.location.startswith(SCHEME):
        return _signed(place)
    if place.body:
        return links.url(
            place.body,
            stored.get(place.body),
            content_type=files.media_type(place.name),
            file_name=place.name,
            holder=Holder(HOLDER, number),
        )
    return place.link


def _signed(place: Place) -> str:
    """The address of an object, of which a browser takes what its name says. Empty where there is none to give."""
    if not s3.is_allowed(place.location):
        return ""
    bucket, _, key = place.location.removeprefix(SCHEME).partition("/")
    content_type = files.media_type(place.name)
    return s3_folders.signed_url(bucket, key, content_type=content_type, file_name=place.source_name) or ""

"""Addresses of blobs: whoever has one may read that blob without a token, until the address expires.

An address is given out only to somebody who may read the blob. It names the blob, the content type and the file name
to serve it with, and its expiry. A signature over these four is the permission. Within a quarter of the addresses' life
the same blob has the same address, so that a browser which opens a conversation again finds it in its cache.

An address may name a holder, too: what it was given out for, such as a document of a bot. Then it ends with the holder,
though others may keep the same bytes. Each app registers, from `apps.ready`, how its holders are looked up.
"""

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import content_disposition_header

from bedrock_chat.wire.errors import Forbidden, NotFound

PATH = "/blobs/"
SALT = "bedrock_chat.blob_links"  # with another one, addresses that were given out would no longer hold
LONGEST_NAME = 200
PDF = "application/pdf"
PDF_BEGINNING = b"%PDF-"

HolderCheck = Callable[[int, str], bool]
"""Whether the holder of this number still has the file of this SHA-256."""
_checks: Final[dict[str, HolderCheck]] = {}


@dataclass(frozen=True, slots=True)
class Holder:
    """What an address was given out for: a registered kind, and the number of one of them."""

    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.number}"


@dataclass(frozen=True, slots=True)
class Link:
    """The contents of an address: the blob, how to serve it, until when (seconds since 1970), and its holder."""

    sha256: str
    content_type: str
    file_name: str
    until: int
    holder: str = ""

    @property
    def signature(self) -> str:
        holder = [self.holder] if self.holder else []
        signed = orjson.dumps([self.sha256, self.content_type, self.file_name, self.until, *holder])
        return base64.urlsafe_b64encode(salted_hmac(SALT, signed, algorithm="sha256").digest()).decode().rstrip("=")

    @property
    def seconds_left(self) -> int:
        return max(0, self.until - int(time.time()))

    def url(self) -> str:
        query = {"type": self.content_type, "name": self.file_name, "until": self.until}
        query |= {"holder": self.holder} if self.holder else {}
        query |= {"signature": self.signature}
        return f"{settings.PUBLIC_BASE_URL}{PATH}{self.sha256}?{urlencode(query)}"


def register(kind: str, check: HolderCheck) -> None:
    """Adds a kind of holders, in lower-case letters. A kind that is registered again replaces the earlier one."""
    _checks[kind] = check


def make(sha256: str, content_type: str, file_name: str, holder: Holder | None = None) -> Link:
    """An address that holds for BLOB_URL_SECONDS at most, and for three quarters of them at least."""
    life: int = settings.BLOB_URL_SECONDS
    step = max(1, life // 4)
    until = (int(time.time()) + life) // step * step
    return Link(sha256, content_type, file_name, until, str(holder) if holder else "")


def read(sha256: str, query: Mapping[str, str]) -> Link:
    """The address of a request. Raises Forbidden if this server did not sign it, or if it has expired."""
    until = query.get("until", "")
    number = int(until) if until.isascii() and until.isdecimal() and len(until) <= 12 else 0
    link = Link(sha256, query.get("type", ""), query.get("name", ""), number, query.get("holder", ""))
    if not constant_time_compare(link.signature, query.get("signature", "")):
        raise Forbidden("This address was not given out by this server.")
    if not link.seconds_left:
        raise Forbidden("This address has expired; open the conversation again to get a new one.")
    return link


def refuse_removed(link: Link) -> None:
    """Raises NotFound where what the address was given out for has the file no more. One query, if it names a holder.

    Its signature was checked: what it names was written here, though perhaps by another version.
    """
    if not link.holder:
        return
    kind, _, number = link.holder.rpartition("-")
    check = _checks.get(kind)
    if check is None or not check(int(number), link.sha256):
        raise NotFound("This file is not there any more.")


def plain_name(file_name: str) -> str:
    """A file's name that is safe in a header: one line without slashes. A long one is cut in its middle."""
    name = " ".join(file_name.replace("/", " ").replace("\\", " ").split())
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME // 2]}…{name[-LONGEST_NAME // 2 + 1 :]}"
    return name or "file"


def storage_signs() -> bool:
    """Whether the storage signs addresses, which name its files. Otherwise this server does, and they name blobs.

    A storage that signs has the method `signed_url(name, *, seconds, content_type, content_disposition)`.
    """
    return hasattr(default_storage, "signed_url")


def url(sha256: str, name: str | None, *, content_type: str, file_name: str, holder: Holder | None = None) -> str:
    """An address that serves the blob without a token, for BLOB_URL_SECONDS at most. Give it only to a user who may
    read the blob.

    `name` is the file's name in a storage that signs. Without it, or with another storage, this server serves the file,
    and only as long as the `holder` has it. What a storage has signed cannot be taken back.
    """
    shown_name = plain_name(file_name)
    if name is not None and storage_signs():
        address: str = default_storage.signed_url(  # type: ignore[attr-defined]
            name,
            seconds=settings.BLOB_URL_SECONDS,
            content_type=content_type,
            content_disposition=content_disposition_header(not is_shown(content_type), shown_name),
        )
        return address
    return make(sha256, content_type, shown_name, holder).url()


def is_shown(content_type: str) -> bool:
    """Whether a browser may show it. Everything else is downloaded, since an HTML document may contain scripts.

    A PDF is shown so that an address can name one of its pages: `#page=3`.
    """
    return content_type.startswith("image/") or content_type == PDF


def is_what_it_says(content_type: str, beginning: bytes) -> bool:
    """Whether a file begins as its type does. Only a PDF is looked at: a browser hands it to a viewer of its own."""
    return content_type != PDF or beginning.startswith(PDF_BEGINNING)

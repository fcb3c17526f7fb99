"""Addresses of blobs: whoever holds one may read that blob until it expires, and needs no token.

An address is given out only to somebody who may read the blob. It names the content, the type and the file's name it
is served with, and until when; a signature over all of it is the permission. Within a quarter of the addresses' life
the same blob has the same address, so that a browser which opens a conversation again finds it in its cache.
"""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.core.files.storage import default_storage
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import content_disposition_header

from bedrock_chat.wire.errors import Forbidden

PATH = "/blobs/"
SALT = "bedrock_chat.blob_links"  # as it was first: addresses that were given out stay good
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Link:
    """What an address says: the blob, how it is served, and until when (seconds since 1970)."""

    sha256: str
    content_type: str
    file_name: str
    until: int

    @property
    def signature(self) -> str:
        signed = orjson.dumps([self.sha256, self.content_type, self.file_name, self.until])
        return base64.urlsafe_b64encode(salted_hmac(SALT, signed, algorithm="sha256").digest()).decode().rstrip("=")

    @property
    def seconds_left(self) -> int:
        return max(0, self.until - int(time.time()))

    def url(self) -> str:
        query = {"type": self.content_type, "name": self.file_name, "until": self.until, "signature": self.signature}
        return f"{settings.PUBLIC_BASE_URL}{PATH}{self.sha256}?{urlencode(query)}"


def make(sha256: str, content_type: str, file_name: str) -> Link:
    """An address that holds for BLOB_URL_SECONDS, and at least for three quarters of them."""
    life: int = settings.BLOB_URL_SECONDS
    step = max(1, life // 4)
    return Link(sha256, content_type, file_name, (int(time.time()) + life) // step * step)


def read(sha256: str, query: Mapping[str, str]) -> Link:
    """The address that was asked for. Raises Forbidden where it is not one of ours, or is over."""
    until = query.get("until", "")
    number = int(until) if until.isascii() and until.isdecimal() and len(until) <= 12 else 0
    link = Link(sha256, query.get("type", ""), query.get("name", ""), number)
    if not constant_time_compare(link.signature, query.get("signature", "")):
        raise Forbidden("This address was not given out by this server.")
    if not link.seconds_left:
        raise Forbidden("This address has expired; open the conversation again to get a new one.")
    return link


def plain_name(file_name: str) -> str:
    """A file's name that every header takes: one line, its ending kept where it is long."""
    name = " ".join(file_name.replace("/", " ").replace("\\", " ").split())
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME // 2]}…{name[-LONGEST_NAME // 2 + 1 :]}"
    return name or "file"


def storage_signs() -> bool:
    """Whether addresses are the storage's own, which name its files, or this server's, which name blobs.

    A storage that signs has `signed_url(name, *, seconds, content_type, content_disposition)`.
    """
    return hasattr(default_storage, "signed_url")


def url(sha256: str, name: str | None, *, content_type: str, file_name: str) -> str:
    """An address that serves the blob for BLOB_URL_SECONDS without a token; give it only to who may read the blob.

    `name` is the file's, where the storage signs. Without it, as with any other storage, this server serves the file.
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
    return make(sha256, content_type, shown_name).url()


def is_shown(content_type: str) -> bool:
    """Whether a browser may show it; everything else is to be saved, since an HTML document may hold scripts."""
    return content_type.startswith("image/")

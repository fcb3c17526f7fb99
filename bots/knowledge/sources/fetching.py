"""Fetches one document into a temporary file, with what the server says of it. No database is asked here.

Whatever goes wrong is one sentence, a SourceFault's. Every fetch from the web obeys the site's robots.txt, at every
redirect too.
"""

import re
import time
from collections.abc import Mapping
from email.message import Message
from http import HTTPStatus
from typing import Final, NoReturn

from django.conf import settings

from bedrock_chat.outbound.downloading import Bound, Downloaded, download
from bedrock_chat.outbound.faults import MEGABYTE, OutboundFault
from bots.knowledge.sources import crawling, kinds, robots, s3, uploads
from bots.knowledge.sources.locations import (
    NOTHING_KNOWN,
    FetchContext,
    Fetched,
    Known,
    Location,
    SourceFault,
    not_fetched,
)
from bots.knowledge.sources.scope import host_of

PAGE_SECONDS: Final = 30.0
FILE_SECONDS: Final = 120.0
"""For one fetch, all of its redirects included."""
MOST_REDIRECTS: Final = 5
PAGE_BYTES: Final = 5 * MEGABYTE
LONGEST_TAG: Final = 512
LONGEST_DATE: Final = 128
"""Characters of an ETag and of a Last-Modified; of a longer one nothing is kept."""
NOT_A_FILE: Final = "It is a page of another site, and not a file."
_CHARSET: Final = re.compile(r"[A-Za-z0-9_.:-]{1,40}")


def fetch(location: Location, known: Known, context: FetchContext) -> Fetched:
    """The document, as its bytes are now, or that it is unchanged. Raises SourceFault and Interrupted."""
    match location.kind:
        case "file":
            return uploads.fetch(location, known, context)
        case "s3":
            return s3.fetch(location, known, context)
        case "web":
            return _page(location, known, context)


def _page(location: Location, known: Known, context: FetchContext) -> Fetched:
    address = crawling.address_of(location.location)
    is_file = kinds.kind_of_url(address) not in (None, kinds.PAGES)

    def bound(url: str, headers: Mapping[str, str]) -> int:
        """How many bytes of this document are read. Raises SourceFault for a type that is not."""
        kind = kinds.kind_of_answer(_media_type(headers)[0], url)
        if kind is None:
            raise SourceFault(kinds.refusal_of_name(kinds.name_of(url)), is_skipped=True)
        if kind == kinds.PAGES and location.role == "linked":
            raise SourceFault(NOT_A_FILE, is_skipped=True)
        return PAGE_BYTES if kind == kinds.PAGES else settings.KNOWLEDGE_FILE_MB * MEGABYTE

    seconds = FILE_SECONDS if is_file else PAGE_SECONDS
    downloaded = get(address, context, known=known, seconds=seconds, bound=bound)
    headers, path = downloaded.headers, downloaded.path
    is_unchanged = downloaded.status == HTTPStatus.NOT_MODIFIED or downloaded.digest == known.digest
    if is_unchanged and path is not None:
        path.unlink(missing_ok=True)
        path = None
    tag, date = _short(headers.get("etag", ""), LONGEST_TAG), _short(headers.get("last-modified", ""), LONGEST_DATE)
    media_type, charset = _media_type(headers)
    is_indexed, is_followed = robots.tagged(headers.get("x-robots-tag", ""))
    return Fetched(
        location,
        path,
        size=downloaded.size,
        digest=downloaded.digest or known.digest,
        etag=tag or (known.etag if is_unchanged else ""),
        last_modified=date or (known.last_modified if is_unchanged else ""),
        kind=kinds.kind_of_answer(media_type, downloaded.url) or "",
        media_type=media_type,
        charset=charset,
        final_url=downloaded.url,
        is_unchanged=is_unchanged,
        is_indexed=is_indexed,
        is_followed=is_followed,
    )


def get(
    url: str,
    context: FetchContext,
    *,
    known: Known = NOTHING_KNOWN,
    seconds: float,
    bound: int | Bound,
) -> Downloaded:
    """A response 200 or 304 of the web. Raises SourceFault for any other, and where robots.txt does not allow it."""
    deadline = time.monotonic() + seconds
    hosts = {host_of(url)}

    def hop(address: str) -> None:
        """Whether and when a redirect is followed. Raises SourceFault and Interrupted."""
        written = crawling.address_of(address)
        host, requests = host_of(written), 1 if robots.is_known(written) else 2  # its robots.txt is asked for first
        context.await_turn(written, requests, deadline, is_first=host not in hosts)
        hosts.add(host)
        robots.check(written, context, deadline)

    robots.check(url, context, deadline)
    headers = {"Accept": "text/html, application/xhtml+xml, */*;q=0.8"}
    if known.etag:
        headers["If-None-Match"] = known.etag
    if known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    try:
        downloaded = download(
            url,
            headers=headers,
            most_bytes=bound,
            most_redirects=MOST_REDIRECTS,
            deadline=deadline,
            interruption=context.interruption,
            folder=context.folder,
            before_redirect=hop,
        )
    except OutboundFault as fault:
        raise not_fetched(fault) from None
    if downloaded.path is None and not (downloaded.status == HTTPStatus.NOT_MODIFIED and known != NOTHING_KNOWN):
        _refuse(downloaded)
    return downloaded


def _refuse(downloaded: Downloaded) -> NoReturn:
    status = downloaded.status
    wait = robots.retry_after(downloaded.headers.get("retry-after"))
    raise SourceFault(
        f"answered {status}.",
        is_gone=status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE),
        retry_after=wait if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) else None,
    )


def _short(value: str, longest: int) -> str:
    """A header's value as it can be kept and sent again; nothing where it is too long, or has odd characters in it."""
    return value if len(value) <= longest and value.isprintable() else ""


def _media_type(headers: Mapping[str, str]) -> tuple[str, str]:
    """The media type in lower case, and the charset; each empty where it is not told."""
    message = Message()
    message["content-type"] = headers.get("content-type", "")[:1000]
    charset = message.get_param("charset")
    is_name = isinstance(charset, str) and _CHARSET.fullmatch(charset)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type, str(charset).lower() if is_name else ""

"""A response whose body goes into a temporary file: redirects are followed, and a body in gzip is unpacked.

Every redirect is a request of its own, whose address is judged as the first one's was. One deadline is for all of them.
No credentials are sent, so none can reach a server that they are not meant for.
"""

import contextlib
import hashlib
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urldefrag, urljoin

from bedrock_chat.outbound.connecting import Trust
from bedrock_chat.outbound.exchange import GZIP, Incoming, Request, exchange
from bedrock_chat.outbound.faults import Cut, NotAllowed, TooLarge, TooManyRedirects, Unreadable
from bedrock_chat.outbound.targets import parse
from bedrock_chat.process.interruption import Interruption

UNPACKED_BYTES: Final = 64 * 1024
"""That are unpacked at a time."""
GZIP_MAGIC: Final = b"\x1f\x8b"
_REDIRECTS: Final = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.SEE_OTHER,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)


Bound = Callable[[str, Mapping[str, str]], int]
"""Called with the address that answered 200 and its headers. Returns how many bytes of a body are read, and may raise
where none is wanted."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A response of any status but a redirect. The names of headers are in lower case; `url` is the one that answered.

    `path` is a file that the caller deletes, with a body of `size` bytes whose SHA-256 is `digest`. Only the status 200
    has one: what other responses have to say is not read.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    path: Path | None = None
    size: int = 0
    digest: str = ""


def download(
    url: str,
    *,
    headers: Mapping[str, str],
    most_bytes: int | Bound,
    most_redirects: int,
    deadline: float,
    interruption: Interruption,
    folder: Path,
    before_redirect: Callable[[str], object] = lambda _: None,
    truncates: bool = False,
) -> Downloaded:
    """Fetches an address that may be anybody's. `deadline` is a moment of `time.monotonic`.

    `headers` are sent to every server on the way. `before_redirect` is called with an address before it is followed,
    and may raise. `most_bytes` counts what is sent, and what comes out of it; what is beyond it is a fault, or
    left out where the call `truncates`. Raises an OutboundFault and Interrupted; no file is left then.
    """
    for _ in range(most_redirects + 1):
        request = Request("GET", parse(url), None, headers)
        with exchange(
            request, trust=Trust(), deadline=deadline, interruption=interruption, unpacks_gzip=True
        ) as incoming:
            following = _following(url, incoming)
            if following is None:
                return _received(url, incoming, most_bytes, truncates, folder)
        before_redirect(following)
        url = following
    raise TooManyRedirects(most_redirects)


def _following(url: str, incoming: Incoming) -> str | None:
    """Where a response leads to, if it is a redirect. Raises NotAllowed for what is no address."""
    place = incoming.headers.get("location", "").strip()
    if incoming.status not in _REDIRECTS or not place:
        return None
    with contextlib.suppress(UnicodeError):  # HTTP says Latin-1, and servers send UTF-8
        place = place.encode("latin-1").decode()
    try:
        return urldefrag(urljoin(url, place)).url
    except ValueError:
        raise NotAllowed from None


def _received(url: str, incoming: Incoming, bound: int | Bound, truncates: bool, folder: Path) -> Downloaded:
    if incoming.status != HTTPStatus.OK:
        return Downloaded(incoming.status, incoming.headers, url)
    most_bytes = bound if isinstance(bound, int) else bound(url, incoming.headers)
    length = incoming.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > most_bytes and not truncates:
        raise TooLarge(most_bytes)
    pieces = _counted(incoming.pieces, most_bytes, truncates)
    if incoming.headers.get("content-encoding", "").strip().lower() in GZIP:
        pieces = _counted(gunzipped(pieces), most_bytes, truncates)
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        path = Path(file.name)
        try:
            for piece in pieces:
                digest.update(piece)
                size += file.write(piece)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return Downloaded(incoming.status, incoming.headers, url, path, size, digest.hexdigest())


def _counted(pieces: Iterator[bytes], most_bytes: int, truncates: bool) -> Iterator[bytes]:
    """Raises TooLarge, or ends there."""
    left = most_bytes
    for piece in pieces:
        if len(piece) > left and not truncates:
            raise TooLarge(most_bytes)
        yield piece[:left]
        left -= len(piece)
        if left < 0:
            return


def gunzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What comes out of gzip, at most UNPACKED_BYTES at a time. Raises Unreadable, and Cut where its end is missing.

    A file of gzip may have several parts. What follows the last one, and is no other, is left out.
    """
    unpacker, is_begun = zlib.decompressobj(wbits=31), False
    for piece in pieces:
        packed = piece
        while packed:
            if unpacker.eof:
                if not packed.startswith(GZIP_MAGIC[: len(packed)]):
                    return
                unpacker = zlib.decompressobj(wbits=31)
            is_begun = True
            try:
                unpacked = unpacker.decompress(packed, UNPACKED_BYTES)
            except zlib.error:
                raise Unreadable from None
            if unpacked:
                yield unpacked
            packed = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if is_begun and not unpacker.eof:
        raise Cut

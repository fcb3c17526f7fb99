"""Whole responses of other servers, in memory: few bytes, in time, and nothing compressed.

A response that may be redirected, compressed or large needs another reader of `exchange`, not another way out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from bedrock_chat.outbound.connecting import Trust
from bedrock_chat.outbound.exchange import Incoming, Request, exchange
from bedrock_chat.outbound.faults import MEGABYTE, Refused, TooLarge
from bedrock_chat.outbound.targets import parse
from bedrock_chat.process.interruption import Interruption

MOST_BYTES = 4 * MEGABYTE


@dataclass(frozen=True, slots=True)
class Response:
    """A response of any status. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def require_success(self) -> None:
        """Raises Refused for any status but 2xx."""
        if not 200 <= self.status < 300:
            raise Refused(self.status)


def post_json(
    url: str,
    body: Any,
    *,
    credential_headers: Mapping[str, str],
    deadline: float,
    interruption: Interruption,
) -> Response:
    """Posts JSON to an address that may be anybody's, and returns the whole response, whatever its status.

    `credential_headers` are sent over https alone, but where OUTBOUND_HTTP_CREDENTIALS says otherwise. `deadline` is a
    moment of `time.monotonic`. Raises an OutboundFault, and Interrupted.
    """
    request = Request(
        "POST",
        parse(url),
        orjson.dumps(body),
        {"Content-Type": "application/json", "Accept": "application/json"},
        credential_headers,
    )
    with exchange(request, trust=Trust(), deadline=deadline, interruption=interruption) as incoming:
        return Response(incoming.status, incoming.headers, _read(incoming))


def _read(incoming: Incoming) -> bytes:
    """The body. Raises TooLarge, before it is read where its length is told."""
    length = incoming.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > MOST_BYTES:
        raise TooLarge(MOST_BYTES)
    pieces, size = list[bytes](), 0
    for piece in incoming.pieces:
        size += len(piece)
        if size > MOST_BYTES:
            raise TooLarge(MOST_BYTES)
        pieces.append(piece)
    return b"".join(pieces)

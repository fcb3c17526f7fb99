"""One request and its response, within one deadline from the first look at the name to the last byte of the body.

The body comes in pieces, so that whoever reads it decides how much it may be and where it goes. Nothing is followed,
decoded or tried again here.
"""

import contextlib
import http.client
import logging
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import urllib3.exceptions

from bedrock_chat.outbound.connecting import Trust, connected, judged_addresses
from bedrock_chat.outbound.faults import (
    Cut,
    Encoded,
    NotTrusted,
    OutboundFault,
    TimedOut,
    Unreachable,
    Unreadable,
)
from bedrock_chat.outbound.targets import Target
from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.resilience.deadlines import hang_up_after

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 * 1024
USER_AGENT = "bedrock-chat"
GZIP = frozenset({"gzip", "x-gzip"})


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. `credential_headers` are sent over https alone. Nothing of it but the host is in a `repr`."""

    method: str
    target: Target
    body: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    credential_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A response whose body is still to come. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


@contextlib.contextmanager
def exchange(
    request: Request, *, trust: Trust, deadline: float, interruption: Interruption, unpacks_gzip: bool = False
) -> Iterator[Incoming]:
    """Sends a request and yields its response; the connection is closed afterwards, wherever the body is.

    `deadline` is a moment of `time.monotonic`. `unpacks_gzip`: the caller unpacks a body in gzip, and counts what comes
    out. Raises an OutboundFault, also while pieces are read, and Interrupted.
    """
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimedOut
    with interruption.inner() as call, hang_up_after(seconds, call.expire), contextlib.ExitStack() as stack:
        with _faults(call):
            call.check()
            addresses = judged_addresses(
                request.target,
                trust,
                has_credential=bool(request.credential_headers),
                seconds=seconds,
                call=call,
            )
            connection = stack.enter_context(connected(request.target, addresses, deadline=deadline, call=call))
            connection.request(request.method, request.target.resource, request.body, _headers(request))
            interruption.was_sent = True
            # Not by urllib3: it logs the address, and reads the lines between chunks without a bound.
            response = http.client.HTTPResponse(connection.sock, method=request.method)
            stack.callback(response.close)
            response.begin()
            received = _combined(response.getheaders())
            _require_readable(received, GZIP if unpacks_gzip else frozenset())
        yield Incoming(response.status, received, _pieces(response, call))


def _headers(request: Request) -> dict[str, str]:
    own = {"User-Agent": USER_AGENT, "Connection": "close", "Accept-Encoding": "identity"}
    return {**request.headers, **request.credential_headers, **own}


def _combined(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Headers by name. Those that came more than once are one list, as RFC 9110 (5.3) has it."""
    combined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        combined[key] = f"{combined[key]}, {value}" if key in combined else value
    return combined


def _require_readable(received: Mapping[str, str], unpacked: frozenset[str]) -> None:
    """Raises Encoded for a body that must be unpacked, but for these encodings: a few KB of it may be gigabytes."""
    content, transfer = received.get("content-encoding", ""), received.get("transfer-encoding", "")
    if content.strip().lower() not in {"", "identity", *unpacked}:
        raise Encoded
    if transfer.strip().lower() not in ("", "identity", "chunked"):
        raise Encoded


def _pieces(response: http.client.HTTPResponse, call: Interruption) -> Iterator[bytes]:
    while True:
        with _faults(call):
            piece = response.read(PIECE_BYTES)
            call.check()  # a connection that is shut down looks like the end of a body without a length
            if not piece and response.length:
                raise Cut
        if not piece:
            return
        yield piece


@contextlib.contextmanager
def _faults(call: Interruption) -> Iterator[None]:
    """Whatever goes wrong with the other server becomes a fault, or Interrupted. Mistakes of our own are raised."""
    try:
        yield
    except (OutboundFault, Interrupted, OSError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        if call.expired:
            raise TimedOut from None
        if call.requested:
            raise Interrupted from None
        fault = _fault_of(error)
        logger.info("A call to another server failed: %s, %s.", type(fault).__name__, type(error).__name__)
        if fault is error:
            raise
        raise fault from None  # what libraries say of it may have the address in it


def _fault_of(error: Exception) -> OutboundFault:
    match error:
        case OutboundFault():
            return error
        case ssl.SSLError() | urllib3.exceptions.SSLError():
            return NotTrusted()
        case TimeoutError() | urllib3.exceptions.TimeoutError():
            return TimedOut()
        case (
            http.client.IncompleteRead() | http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError()
        ):
            return Cut()
        case http.client.HTTPException():
            return Unreadable()
    return Unreachable()

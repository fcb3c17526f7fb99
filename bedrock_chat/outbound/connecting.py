"""Opens a connection to one of the addresses that a name leads to, all of which were judged. The name is resolved once.

Resolving it again after it was judged, as a library would in order to connect, is the hole through which a name leads
to a private address: it may change in between.
"""

import contextlib
import errno
import functools
import ipaddress
import select
import socket
import ssl
import struct
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3.connection
from django.conf import settings
from urllib3.util.ssl_ import create_urllib3_context

from bedrock_chat.outbound.addresses import Address, Allowance, is_public
from bedrock_chat.outbound.faults import NotAllowed, NotEncrypted, NotResolved, Unreachable
from bedrock_chat.outbound.targets import Target
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.resilience.deadlines import Errand

CONNECT_SECONDS = 5.0
"""For one of several addresses. The last one has all the time that is left."""
MOST_ADDRESSES = 8
"""That are tried, one after another. All are judged."""
LOOK_SECONDS = 0.1
"""Between two looks at whether the call was interrupted, while a connection is being opened."""
PROXY_HEAD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Trust:
    """Where a call may go. `by_operator`: the address is out of the settings, so its host needs no other allowance."""

    by_operator: bool = False

    def allowance(self, target: Target) -> Allowance:
        allowed = Allowance(*settings.OUTBOUND_ALLOW)
        if not self.by_operator:
            return allowed
        return Allowance(allowed.networks, allowed.hosts | {(target.host, target.port)})


# ---- Judging --------------------------------------------------------------------------------------------------------


def judged_addresses(
    target: Target, trust: Trust, *, has_credential: bool, seconds: float, call: Interruption
) -> list[Address]:
    """The addresses that a host has now. Raises NotAllowed unless each of them may be called, NotResolved,
    TimeoutError and Interrupted.
    """
    plain_credential = has_credential and not target.is_encrypted
    if plain_credential and not settings.OUTBOUND_HTTP_CREDENTIALS:
        raise NotEncrypted
    addresses = _resolve(target, seconds, call)
    allowance = trust.allowance(target)
    if not allowance.permits(target.host, target.port, addresses):
        raise NotAllowed
    if plain_credential and not allowance.encloses(target.host, target.port, addresses):
        raise NotEncrypted
    return addresses


def _resolve(target: Target, seconds: float, call: Interruption) -> list[Address]:
    """On a thread of its own, because resolving has no time-out and cannot be interrupted."""
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(target.host)]
    lookup = functools.partial(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    try:
        answers = call.result(Errand(lookup), seconds)
    except (socket.gaierror, UnicodeError):
        raise NotResolved from None
    addresses = dict.fromkeys(
        ipaddress.ip_address(str(sockaddr[0]))
        for family, _, _, _, sockaddr in answers
        if family in (socket.AF_INET, socket.AF_INET6)
    )
    if not addresses:
        raise NotResolved
    return list(addresses)


# ---- Connecting -----------------------------------------------------------------------------------------------------


class _Opened:
    """What our connections add to urllib3's: they take a socket that is open already, in whatever way it became so.

    The connection's host is the name, which TLS verifies and `Host` says.
    """

    open_socket: socket.socket

    def _new_conn(self) -> socket.socket:
        return self.open_socket


class Connection(_Opened, urllib3.connection.HTTPConnection):
    pass


class SecureConnection(_Opened, urllib3.connection.HTTPSConnection):
    pass


@contextlib.contextmanager
def connected(target: Target, addresses: Sequence[Address], *, deadline: float, call: Interruption) -> Iterator[Any]:
    """A connection to one of these addresses, TLS included, which `call` ends at any time. It is closed afterwards.

    Raises OSError, and what urllib3 raises.
    """
    # Whoever allows a private address does not mean that a proxy to the internet knows the way there.
    by_proxy = bool(settings.OUTBOUND_PROXY) and all(is_public(address) for address in addresses)
    with contextlib.ExitStack() as stack:
        endpoints = _proxy_endpoints(deadline, call) if by_proxy else [(one, target.port) for one in addresses]
        opened = _open_socket(endpoints, deadline, call)
        stack.callback(opened.close)
        # A handle of our own: TLS takes the socket's away while it is set up, which is a time to be interrupted too.
        handle = opened.dup()
        stack.callback(handle.close)
        stack.enter_context(call.ending(functools.partial(_hang_up, handle)))
        opened.settimeout(max(0.001, deadline - time.monotonic()))
        if by_proxy:
            _tunnel(opened, addresses[0], target.port)
        connection: Any
        if target.is_encrypted:
            connection = SecureConnection(target.host, target.port, ssl_context=_tls(), cert_reqs=ssl.CERT_REQUIRED)
        else:
            connection = Connection(target.host, target.port)
        connection.open_socket = opened
        stack.callback(connection.close)
        connection.connect()
        yield connection


def _hang_up(handle: socket.socket) -> None:
    """Ends reads and writes at once. What the server sends from now on is refused, not left in its buffers."""
    with contextlib.suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handle.shutdown(socket.SHUT_RDWR)


def _open_socket(endpoints: Sequence[tuple[Address, int]], deadline: float, call: Interruption) -> socket.socket:
    """Tries addresses with a port one after another. Raises what the last one raised."""
    *others, last = endpoints[:MOST_ADDRESSES]
    for endpoint in others:
        with contextlib.suppress(OSError):
            return _connect(*endpoint, min(deadline, time.monotonic() + CONNECT_SECONDS), call)
    return _connect(*last, deadline, call)


def _connect(address: Address, port: int, until: float, call: Interruption) -> socket.socket:
    """Raises OSError, TimeoutError among them, and Interrupted. A look every LOOK_SECONDS costs next to nothing."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    opening = socket.socket(family, socket.SOCK_STREAM)
    try:
        opening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening.setblocking(False)
        problem = opening.connect_ex((str(address), port))
        if problem not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            raise OSError(problem, "connect")
        poll = select.poll()
        poll.register(opening, select.POLLOUT)
        while not poll.poll(LOOK_SECONDS * 1000):
            call.check()
            if time.monotonic() >= until:
                raise TimeoutError
        if problem := opening.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(problem, "connect")
        call.check()
    except BaseException:
        opening.close()
        raise
    return opening


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once: to read the machine's certificates takes tens of milliseconds. `SSL_CERT_FILE` names others."""
    context = create_urllib3_context()
    context.load_default_certs()
    return context


# ---- The proxy ------------------------------------------------------------------------------------------------------


def _proxy_endpoints(deadline: float, call: Interruption) -> list[tuple[Address, int]]:
    """Where the proxy of the settings is. It is the operator's, and is not judged."""
    parts = urlsplit(settings.OUTBOUND_PROXY)
    port = parts.port or 80
    proxy = Target("http", parts.hostname or "", port, "/")
    return [(address, port) for address in _resolve(proxy, deadline - time.monotonic(), call)]


def _tunnel(opened: socket.socket, address: Address, port: int) -> None:
    """Has the proxy connect to the address that was judged: given a name, it would resolve that anew."""
    host = f"[{address}]" if address.version == 6 else str(address)
    parts = urlsplit(settings.OUTBOUND_PROXY)
    head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        head += f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}\r\n"
    opened.sendall(f"{head}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        piece = opened.recv(1)  # not a byte of what comes behind the head
        if not piece or len(answer) > PROXY_HEAD_BYTES:
            raise Unreachable
        answer += piece
    if answer.split(b" ", 2)[1:2] != [b"200"]:
        raise Unreachable

"""Connections to AWS that an `Interruption` ends, whatever they wait for: to be opened, the first byte or the next one.

Closing botocore's stream from another thread waits for the next byte (7 s were measured). Shutting down the socket ends
the read at once. For this, every connection of our clients remembers which call it serves.

While a connection is being opened there is no socket to shut down, so it is opened on a thread of its own. For the same
reason the connect time-out is one in total: resolving the host, all of its addresses, and TLS.
"""

import contextlib
import socket
from functools import lru_cache
from typing import Any

import urllib3.exceptions
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from bedrock_chat.process.interruption import Interruption, current
from bedrock_chat.resilience.deadlines import Errand

ADDRESSES = 128
"""How many addresses of calls are known with their pool. Those of agents hold a session's id, so they come and go."""
JOINED = 64 * 1024
"""Bytes of a body that is sent with its head. A larger one would be copied for it."""


class _Interruptible:
    """What our connections add to botocore's: the call that they serve, and the socket that is open for it.

    `open_socket` is separate from `sock`, because http.client sets that to None once the response owns the socket.
    """

    serves: Interruption | None = None
    open_socket: socket.socket | None = None
    _head: bytes | None = None
    """That of the request which is sent just now: empty until it is written, None once it is sent."""

    def request(self, *args: Any, **options: Any) -> Any:
        """Raises Interrupted if the call has ended before it is sent."""
        self.serve_nobody()
        self.open_socket = getattr(self, "sock", None)
        interruption = current()
        if interruption is not None:
            interruption.add(self.hang_up)
            self.serves = interruption
        self._head = b""
        try:
            result = super().request(*args, **options)  # type: ignore[misc]  # mixed into a connection
            if self._head:  # there is no body
                self.send(b"")
        finally:
            self._head = None
        if interruption is not None:
            interruption.was_sent = True
        return result

    def connect(self) -> None:
        """Raises ConnectTimeoutError after the connection's time-out in total, and Interrupted."""
        seconds: float = self.timeout  # type: ignore[attr-defined]  # urllib3 sets it to the connect time-out
        errand = Errand(super().connect, discard=lambda _: super(_Interruptible, self).close())  # type: ignore[misc]
        interruption = self.serves
        try:
            if interruption is None:
                errand.result(seconds)
            else:
                interruption.result(errand, seconds)
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, str(error)) from error
        self.open_socket = getattr(self, "sock", None)
        if interruption is not None:
            interruption.check()

    def send(self, data: Any) -> None:
        """Sends a request's head together with a body that is not large. urllib3 sends one, then the other: two system
        calls, two packets, and two chances for other threads to take the interpreter over. The head of a request that
        waits for `100 Continue`, as of S3's uploads, goes out alone.
        """
        head, self._head = self._head, None
        if head == b"" and not self._expect_header_set:  # type: ignore[attr-defined]  # botocore's
            self._head = data
            return
        if head and len(data) <= JOINED:
            data = head + data
        elif head:
            super().send(head)  # type: ignore[misc]  # mixed into a connection
        super().send(data)  # type: ignore[misc]

    def hang_up(self) -> None:
        """Ends the call, from any thread. Not by SSLSocket's own `shutdown`: it discards TLS state that the reading
        thread still uses.
        """
        if self.open_socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.open_socket, socket.SHUT_RDWR)

    def serve_nobody(self) -> None:
        """The call is over: an interruption that comes late cannot end the next call on this connection."""
        interruption, self.serves = self.serves, None
        if interruption is not None:
            interruption.remove(self.hang_up)


class Connection(_Interruptible, AWSHTTPConnection):  # type: ignore[misc]  # botocore overrides http.client loosely
    pass


class SecureConnection(_Interruptible, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Releasing:
    """What our pools add to botocore's: a returned connection serves no call."""

    def _put_conn(self, connection: Any) -> None:
        if connection is not None:
            connection.serve_nobody()
        super()._put_conn(connection)  # type: ignore[misc]  # mixed into a pool


class ConnectionPool(_Releasing, AWSHTTPConnectionPool):
    ConnectionCls = Connection


class SecureConnectionPool(_Releasing, AWSHTTPSConnectionPool):
    ConnectionCls = SecureConnection


def install(client: Any) -> None:
    """Makes a boto3 client use connections that can be interrupted.

    botocore has no public interface to its connections, so this uses a private one. The requirements pin botocore's
    version, and tests interrupt real calls.
    """
    session = client._endpoint.http_session
    session._pool_classes_by_scheme.update(http=ConnectionPool, https=SecureConnectionPool)
    # To find a pool urllib3 parses the address of every call. Those of models are few.
    session._manager.connection_from_url = lru_cache(ADDRESSES)(session._manager.connection_from_url)

"""Ends a call to AWS from another thread, whatever the call waits for: a connection, its first byte or the next one.

Closing botocore's stream from another thread waits for the next byte (7 s were measured). Shutting down the socket ends
the read at once. For this, every connection of our clients remembers which call it serves.

While a connection is being opened there is no socket to shut down, so it is opened on a thread of its own. For the same
reason the connect time-out is one in total: resolving the host, all of its addresses, and TLS.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import urllib3.exceptions
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from bedrock_chat.resilience.deadlines import Errand

_lock = threading.Lock()  # a connection may pass to another call, and then it must not be shut down for this one
_this_thread = threading.local()


class Interrupted(Exception):
    """The call was ended before it was sent."""


class Interruption:
    """A switch that ends one call. It stays on: a later call with the same switch ends before it begins.

    `was_sent` is True once the request was sent: the model may be at work, and its work is paid. `expired` is True if
    the call was ended because it took too long.
    """

    def __init__(self) -> None:
        self.was_sent = False
        self.expired = False
        self._requested = threading.Event()
        self._connection: Any = None
        self._connecting: Errand[None] | None = None

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleeps so many seconds, or until the switch is on. Returns whether the switch is on."""
        return self._requested.wait(seconds)

    def request(self) -> None:
        """Turns the switch on and ends the call. The calling thread gets the error that its socket raises then."""
        self._requested.set()
        with _lock:
            if self._connecting is not None:
                self._connecting.abandon()
            connection = self._connection
            if connection is None or connection.serves is not self or connection.open_socket is None:
                return
            # Not SSLSocket's own `shutdown`: it discards TLS state that the reading thread still uses.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.open_socket, socket.SHUT_RDWR)

    def expire(self) -> None:
        """Ends the call because it took too long."""
        self.expired = True
        self.request()

    @contextlib.contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Inside the `with` block, this switch ends the calls that this thread sends."""
        _this_thread.interruption = self
        try:
            yield
        finally:
            _this_thread.interruption = None

    def _use(self, connection: Any) -> None:
        """Notes the connection that serves the call. Raises Interrupted if the switch is already on."""
        with _lock:
            self._connection = connection
        if self.requested:
            raise Interrupted


class _Interruptible:
    """What our connections add to botocore's: the call that they serve, and the socket that is open for it.

    `open_socket` is separate from `sock`, because http.client sets that to None once the response owns the socket.
    """

    serves: Interruption | None = None
    open_socket: socket.socket | None = None

    def request(self, *args: Any, **options: Any) -> Any:
        interruption = getattr(_this_thread, "interruption", None)
        with _lock:
            self.serves = interruption
            self.open_socket = getattr(self, "sock", None)
        if interruption is not None:
            interruption._use(self)
        result = super().request(*args, **options)  # type: ignore[misc]  # mixed into a connection
        if interruption is not None:
            interruption.was_sent = True
        return result

    def connect(self) -> None:
        """Raises ConnectTimeoutError after the connection's time-out in total, and Interrupted."""
        seconds: float = self.timeout  # type: ignore[attr-defined]  # urllib3 sets it to the connect time-out
        errand = Errand(super().connect, discard=lambda _: super(_Interruptible, self).close())  # type: ignore[misc]
        interruption = self.serves
        with _lock:
            if interruption is not None:
                interruption._connecting = errand
        try:
            if interruption is not None and interruption.requested:
                errand.abandon()
            errand.result(seconds)
        except TimeoutError as error:
            if interruption is not None and interruption.requested:
                raise Interrupted from None
            raise urllib3.exceptions.ConnectTimeoutError(self, str(error)) from error
        finally:
            if interruption is not None:
                interruption._connecting = None
        with _lock:
            self.open_socket = getattr(self, "sock", None)
        if interruption is not None and interruption.requested:
            raise Interrupted


class Connection(_Interruptible, AWSHTTPConnection):  # type: ignore[misc]  # botocore overrides http.client loosely
    pass


class SecureConnection(_Interruptible, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Releasing:
    """What our pools add to botocore's: a returned connection serves no call.

    So an interruption that comes late cannot end the next call on the same connection.
    """

    def _put_conn(self, connection: Any) -> None:
        if connection is not None:
            with _lock:
                connection.serves = None
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
    pools = client._endpoint.http_session._pool_classes_by_scheme
    pools.update(http=ConnectionPool, https=SecureConnectionPool)

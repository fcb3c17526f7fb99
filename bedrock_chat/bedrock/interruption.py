"""Ending a call to a model from another thread, whether it waits for the first byte or for the next one.

While a connection is being made nothing can be shut down yet; that ends with MODEL_CONNECT_TIMEOUT at the latest.

Closing botocore's stream from another thread waits for the next byte (7 s seen). Shutting the socket down ends the read
at once, so the connections of our client remember whose call they serve.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

_lock = threading.Lock()  # a connection changes hands: never shut down one that serves somebody else by now
_calling = threading.local()


class Interrupted(Exception):
    """The call was ended before it was sent."""


class Interruption:
    """A switch that ends one call. It stays on: a call made with it afterwards ends before it begins.

    `asked`: the request is with the model, which may be at work and will be paid.
    """

    def __init__(self) -> None:
        self.asked = False
        self._requested = threading.Event()
        self._connection: Any = None

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleeps that long, or until the switch is on; says which."""
        return self._requested.wait(seconds)

    def request(self) -> None:
        """Ends the call. The thread that makes it gets whatever error its socket makes of that."""
        self._requested.set()
        with _lock:
            connection = self._connection
            if connection is None or connection.serves is not self or connection.reached is None:
                return
            # An SSLSocket's own `shutdown` pulls its state from under the thread that reads.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.reached, socket.SHUT_RDWR)

    @contextlib.contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Calls that this thread sends meanwhile are the ones to be ended."""
        _calling.interruption = self
        try:
            yield
        finally:
            _calling.interruption = None

    def _served_by(self, connection: Any) -> None:
        with _lock:
            self._connection = connection
        if self.requested:
            raise Interrupted


class _Interruptible:
    """What our connections add to botocore's: whose call they serve, and by which socket.

    The socket is remembered apart from `sock`, which http.client gives up once the response owns it.
    """

    serves: Interruption | None = None
    reached: socket.socket | None = None

    def request(self, *args: Any, **options: Any) -> Any:
        interruption = getattr(_calling, "interruption", None)
        with _lock:
            self.serves = interruption
            self.reached = getattr(self, "sock", None)
        if interruption is not None:
            interruption._served_by(self)
        sent = super().request(*args, **options)  # type: ignore[misc]  # mixed into a connection
        if interruption is not None:
            interruption.asked = True
        return sent

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        with _lock:
            self.reached = getattr(self, "sock", None)
        if self.serves is not None and self.serves.requested:
            raise Interrupted


class Connection(_Interruptible, AWSHTTPConnection):  # type: ignore[misc]  # botocore overrides http.client loosely
    pass


class SecureConnection(_Interruptible, AWSHTTPSConnection):  # type: ignore[misc]
    pass


class _Releasing:
    """A connection that goes back to its pool serves nobody: a late interruption must not meet its next user."""

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

    botocore has no public door to its connections. Requirements pin it, and tests interrupt real calls.
    """
    pools = client._endpoint.http_session._pool_classes_by_scheme
    pools.update(http=ConnectionPool, https=SecureConnectionPool)

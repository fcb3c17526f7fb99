"""Redis, if there is one: a convenience between processes. Nothing has to wait for it when it is absent.

Every wait is bounded in total. While Redis is away, one thread alone asks it, and every other call fails at once.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from bedrock_chat.resilience import deadlines
from bedrock_chat.resilience.dependencies import Dependency

CONNECT_SECONDS = 1.0
COMMAND_SECONDS = 2.0
"""For the whole answer to a command, and for greeting a new connection."""
ASYNC_SECONDS = 3.0  # longer than any blocking read; redis.asyncio bounds each answer in total


@cache
def shared() -> redis.Redis:
    """The client that the threads of this process share. Raises RedisError at once while Redis is away."""
    return _client(Pool.from_url(settings.REDIS_URL))


def connect(**options: Any) -> redis.Redis:
    """A new client, for the caller alone. It asks Redis even while that is away."""
    return _client(PatientPool.from_url(settings.REDIS_URL, **options))


def connect_async() -> redis.asyncio.Redis:
    """A client for one event loop."""
    return redis.asyncio.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=ASYNC_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 0),
    )


def _client(pool: redis.ConnectionPool) -> redis.Redis:
    client = redis.Redis(connection_pool=pool)
    # Once more for a connection that Redis has closed while it was idle; never for one that took too long.
    client.set_retry(Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)))
    return client


@cache
def _own() -> redis.Redis:
    return connect()


def ping() -> None:
    """Raises RedisError unless Redis answers."""
    _own().ping()


REDIS = Dependency("Redis", ping)


# ---- Connections ----------------------------------------------------------------------------------------------------


class _Bounded:
    """What our connections add to redis-py's: bounds in total, and word of how it went."""

    _too_slow = False

    def _connect(self) -> Any:
        """Resolves the host, and tries its addresses one after the other."""
        connect = super()._connect  # type: ignore[misc]  # mixed into a connection
        return deadlines.within(CONNECT_SECONDS, connect, discard=lambda late: late.close())

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        with self._watched(connecting=True):
            super().connect_check_health(*args, **options)  # type: ignore[misc]

    def read_response(self, *args: Any, **options: Any) -> Any:
        with self._watched(connecting=False):
            return super().read_response(*args, **options)  # type: ignore[misc]

    @contextmanager
    def _watched(self, *, connecting: bool) -> Iterator[None]:
        """Redis counts as away if it cannot be reached or is silent. It may close an idle connection as it likes."""
        try:
            with deadlines.hang_up_after(COMMAND_SECONDS, self._hang_up):
                yield
        except (redis.ConnectionError, redis.TimeoutError) as error:
            cause: redis.RedisError = redis.TimeoutError("The answer took too long.") if self._too_slow else error
            self._too_slow = False
            if connecting or isinstance(cause, redis.TimeoutError):
                REDIS.failed(cause)
            raise cause from error

    def _hang_up(self) -> None:
        """On another thread."""
        self._too_slow = True
        with suppress(OSError, TypeError):  # it is just being closed
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # type: ignore[attr-defined]


class Connection(_Bounded, redis.Connection):
    pass


class SecureConnection(_Bounded, redis.SSLConnection):
    pass


class LocalConnection(_Bounded, redis.UnixDomainSocketConnection):
    pass


_OURS = {
    redis.Connection: Connection,
    redis.SSLConnection: SecureConnection,
    redis.UnixDomainSocketConnection: LocalConnection,
}


class PatientPool(redis.ConnectionPool):
    """A pool of bounded connections, whatever the scheme of the address."""

    def __init__(self, connection_class: Any = redis.Connection, **options: Any) -> None:
        options.setdefault("socket_timeout", COMMAND_SECONDS)
        options.setdefault("socket_connect_timeout", CONNECT_SECONDS)
        super().__init__(connection_class=_OURS.get(connection_class, connection_class), **options)


class Pool(PatientPool):
    """One that gives no connection while Redis is away."""

    def get_connection(self, *args: Any, **options: Any) -> Any:
        if REDIS.is_away:
            raise redis.ConnectionError(f"Redis is away: {REDIS.state}.")
        return super().get_connection(*args, **options)

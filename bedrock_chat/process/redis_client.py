"""Redis, if there is one: a convenience between processes. Nothing has to wait for it when it is absent."""

from functools import cache
from typing import Any

import redis
import redis.asyncio
from django.conf import settings

TIMEOUTS: dict[str, Any] = {"socket_timeout": 3, "socket_connect_timeout": 1}
"""Seconds. `socket_timeout` is longer than any blocking read, and ends the wait for a Redis that does not answer."""


@cache
def shared() -> redis.Redis:
    """The client that the threads of this process share."""
    return connect()


def connect(**options: Any) -> redis.Redis:
    """A new client, for the caller alone."""
    return redis.Redis.from_url(settings.REDIS_URL, **TIMEOUTS, **options)


def connect_async() -> redis.asyncio.Redis:
    """A client for one event loop."""
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, **TIMEOUTS)

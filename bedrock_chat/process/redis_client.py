"""Redis, where there is one: a convenience between processes, whose absence nobody has to wait for."""

from functools import cache
from typing import Any

import redis
import redis.asyncio
from django.conf import settings

TIMEOUTS: dict[str, Any] = {"socket_timeout": 3, "socket_connect_timeout": 1}
"""Seconds. Longer than a read blocks; nobody waits longer for a Redis that accepts and does not answer."""


@cache
def shared() -> redis.Redis:
    """The client that the threads of this process share."""
    return connect()


def connect(**options: Any) -> redis.Redis:
    """A client of one's own."""
    return redis.Redis.from_url(settings.REDIS_URL, **TIMEOUTS, **options)


def connect_async() -> redis.asyncio.Redis:
    """A client for one event loop."""
    return redis.asyncio.Redis.from_url(settings.REDIS_URL, **TIMEOUTS)

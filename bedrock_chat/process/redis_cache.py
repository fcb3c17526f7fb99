"""Django's caches in Redis, for which nobody waits long."""

from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

COUNTERS_KEPT_HERE = 10_000


class SharedCounters(RedisCache):
    """Counters that all processes share; while Redis is away, each process counts for itself.

    Otherwise whoever wants to guess without limit would only have to wait for an hour in which Redis is away.
    """

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._here = LocMemCache("counters", {**params, "OPTIONS": {"MAX_ENTRIES": COUNTERS_KEPT_HERE}})

    def add(self, key: str, value: Any, *args: Any, **options: Any) -> bool:
        try:
            return super().add(key, value, *args, **options)
        except RedisError:
            return self._here.add(key, value, *args, **options)

    def get(self, key: str, *args: Any, **options: Any) -> Any:
        try:
            return super().get(key, *args, **options)
        except RedisError:
            return self._here.get(key, *args, **options)

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Raises ValueError where there is no such counter."""
        try:
            return super().incr(key, delta, version)
        except RedisError:
            if self._here.add(key, delta, version=version):  # Redis has the beginning of this count
                return delta
            return self._here.incr(key, delta, version)

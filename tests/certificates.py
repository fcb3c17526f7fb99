"""The certificates of all authorities, which tests read once.

httpx reads them for each client, also where it speaks plain HTTP: 30 ms of CPU for a request that takes two.
"""

from functools import lru_cache
from typing import Any

from httpx._transports import default


def read_once() -> None:
    """Has all clients of httpx in this process share what the first one with the same options has made."""
    transport: Any = default
    transport.create_ssl_context = lru_cache(maxsize=8)(transport.create_ssl_context)

"""Calls that really run at once, each on a thread of its own with its own database connection."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bedrock_chat.database.connections import release_connection


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Makes all calls, and returns their results in order. Raises the error of any of them."""

    def run(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            release_connection(final=True)

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    """Waits until the condition holds. Raises AssertionError if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)

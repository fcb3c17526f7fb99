"""How this process ends: it counts what still runs, then interrupts it, then abandons it.

This is a module of its own, so that views can ask and apps can register what they run without importing the server.
"""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from bedrock_chat.tracing import exporting


@dataclass(frozen=True, slots=True)
class Part:
    """Something that the end of the process waits for.

    `begin` is called as soon as the process was asked to end. `busy` returns how many things still run. `interrupt`
    asks them to end at once; it is called when the grace is over or nothing is busy any more. `abandon` is for things
    that did not even end then. All of them are called on the event loop and must not block.
    """

    begin: Callable[[], None]
    busy: Callable[[], int]
    interrupt: Callable[[], None]
    abandon: Callable[[], None]


# Signal handlers set it, and a second one may interrupt the first: a `threading.Event` would wait for its own lock.
_begun = False
_parts: list[Part] = []


def _nothing() -> None:
    pass


def register(
    *,
    busy: Callable[[], int],
    interrupt: Callable[[], None] = _nothing,
    abandon: Callable[[], None] = _nothing,
    begin: Callable[[], None] = _nothing,
) -> None:
    """Make the end of the process wait for a part. Parts are interrupted in the order of their registration."""
    _parts.append(Part(begin, busy, interrupt, abandon))


def draining() -> bool:
    """True once the process was asked to end: `/ready` answers 503, and nothing long should begin."""
    return _begun


def begin() -> None:
    """Mark the process as draining; there is no way back."""
    global _begun  # noqa: PLW0603
    _begun = True


def announce() -> None:
    """Tell every part that the process is draining."""
    for part in _parts:
        part.begin()


def busy() -> int:
    """How many things are not over yet."""
    return sum(part.busy() for part in _parts)


def interrupt() -> None:
    for part in _parts:
        part.interrupt()


def abandon() -> None:
    for part in _parts:
        part.abandon()


def leave(status: int) -> NoReturn:
    """End the process now. A normal end would wait for every thread, even in the middle of a model's answer."""
    exporting.flush()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

"""How this process ends: what still runs is counted, then interrupted, then abandoned.

Apart from the server, so that views can ask and the apps can say what they run without importing it.
"""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Part:
    """Something that the end of the process waits for.

    `busy` counts what is not over yet; `interrupt` asks it to end at once, when the grace is over or nothing is busy
    any more; `abandon` is for what did not even heed that. All are called on the event loop and must not block.
    """

    busy: Callable[[], int]
    interrupt: Callable[[], None]
    abandon: Callable[[], None]


# Set by signal handlers, of which a second may come within the first: a `threading.Event` would wait for its own lock.
_begun = False
_parts: list[Part] = []


def register(*, busy: Callable[[], int], interrupt: Callable[[], None], abandon: Callable[[], None]) -> None:
    """Make the end of the process wait for a part; they are interrupted in the order in which they came."""
    _parts.append(Part(busy, interrupt, abandon))


def draining() -> bool:
    """True once the process was told to end: `/ready` says so, and nothing long should begin."""
    return _begun


def begin() -> None:
    """Mark the process as leaving; there is no way back."""
    global _begun  # noqa: PLW0603
    _begun = True


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
    """End the process now. A normal end would wait for every thread, the ones in the middle of a model's answer too."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)

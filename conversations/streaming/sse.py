"""A turn as Server-Sent Events. Positions of its log are the events' ids, by which a client resumes."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from bedrock_chat.wire.event_stream import KEEP_ALIVE, EventStreamResponse, event
from conversations.streaming.events import JOINED, LAST, Piece, joined
from conversations.streaming.log import NOWHERE, Batch

LONGEST_POSITION = 18  # digits

_open = 0


@dataclass(frozen=True, slots=True)
class Listened:
    """What somebody listens to: the events of one attempt at a question."""

    attempt: int
    batches: AsyncGenerator[Batch, None]


def streams_open() -> int:
    """Event streams that this process is sending now."""
    return _open


def respond(listened: Listened) -> EventStreamResponse:
    """The response that sends what comes, with a comment where there is nothing to send."""
    return EventStreamResponse(_events(listened.attempt, listened.batches))


async def _events(attempt: int, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[bytes, None]:
    global _open  # noqa: PLW0603  counted on the event loop alone
    _open += 1
    try:
        async with contextlib.aclosing(batches):
            async for first, batch in batches:
                yield encode(attempt, first, batch) if batch else KEEP_ALIVE
    finally:
        _open -= 1


def encode(attempt: int, first: int, batch: list[Piece]) -> bytes:
    """A batch as events."""
    told = []
    for position, kind, data in joined(first, batch):
        event_id = end_of(attempt) if kind in LAST else None if first == NOWHERE else f"{attempt}-{position}"
        told.append(event(kind, {"text": data} if kind in JOINED else data, event_id))
    return b"".join(told)


def end_of(attempt: int) -> str:
    """The id of a turn's last event: who has seen it has seen all."""
    return f"{attempt}-end"


def position_of(event_id: str, attempt: int) -> int:
    """Where a client goes on that has seen this event; 0, the beginning, where the id is not of this attempt."""
    its_attempt, _, position = event_id.strip().partition("-")
    is_number = position.isascii() and position.isdigit() and len(position) <= LONGEST_POSITION
    return int(position) if its_attempt == str(attempt) and is_number else 0

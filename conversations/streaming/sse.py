"""A turn as Server-Sent Events. Positions of its log are the events' ids, by which a client resumes."""

import contextlib
from collections.abc import AsyncGenerator

from bedrock_chat.wire.event_stream import KEEP_ALIVE, EventStreamResponse
from bedrock_chat.wire.event_stream import event as as_event
from conversations.streaming.events import StreamEvent, encoded, is_last, joined
from conversations.streaming.log import NOWHERE, Batch, Subscription

LONGEST_POSITION = 18  # digits

_open = 0


def streams_open() -> int:
    """Event streams that this process is sending now."""
    return _open


def respond(subscription: Subscription) -> EventStreamResponse:
    """The response that sends what comes, with a comment where there is nothing to send."""
    return EventStreamResponse(_encoded(subscription.attempt, subscription.batches))


async def _encoded(attempt: int, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[bytes, None]:
    global _open  # noqa: PLW0603  counted on the event loop alone
    _open += 1
    try:
        async with contextlib.aclosing(batches):
            async for first, batch in batches:
                yield encode(attempt, first, batch) if batch else KEEP_ALIVE
    finally:
        _open -= 1


def encode(attempt: int, first: int, batch: list[StreamEvent]) -> bytes:
    """A batch as it is sent."""
    return b"".join(
        as_event(*encoded(event), _id_of(event, attempt, None if first == NOWHERE else position))
        for position, event in joined(first, batch)
    )


def _id_of(event: StreamEvent, attempt: int, position: int | None) -> str | None:
    """Where a client goes on that has seen this event; None where the log does not number it."""
    if is_last(event):
        return end_of(attempt)
    return None if position is None else f"{attempt}-{position}"


def end_of(attempt: int) -> str:
    """The id of a turn's last event: who has seen it has seen all."""
    return f"{attempt}-end"


def position_of(event_id: str, attempt: int) -> int:
    """Where a client goes on that has seen this event; 0, the beginning, where the id is not of this attempt."""
    its_attempt, _, position = event_id.strip().partition("-")
    is_number = position.isascii() and position.isdigit() and len(position) <= LONGEST_POSITION
    return int(position) if its_attempt == str(attempt) and is_number else 0

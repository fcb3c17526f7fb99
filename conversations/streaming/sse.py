"""A turn as Server-Sent Events. An event's id has its position in the turn's log; a client resumes by it."""

import contextlib
from collections.abc import AsyncGenerator, Iterator

from bedrock_chat.metrics.instruments import Gauge
from bedrock_chat.wire.event_stream import KEEP_ALIVE, EventStreamResponse
from bedrock_chat.wire.event_stream import event as as_event
from conversations.streaming.events import StreamEvent, encoded, is_last, joined
from conversations.streaming.log import NOWHERE, Batch, Subscription

LONGEST_POSITION = 18  # digits

_open = 0


def streams_open() -> int:
    """How many event streams this process is sending now."""
    return _open


OPEN = Gauge("bedrock_chat_streams_open", "Event streams that are being sent.", read=streams_open)


def respond(subscription: Subscription) -> EventStreamResponse:
    """The response that sends a subscription's events, and a comment when there was nothing to send for a while."""
    response = EventStreamResponse(_encoded(subscription.attempt, subscription.batches))
    for name, value in subscription.headers.items():
        response.headers[name] = value
    return response


@contextlib.contextmanager
def counted() -> Iterator[None]:
    """Counts a stream while it is sent, on the event loop."""
    global _open  # noqa: PLW0603  counted on the event loop alone
    _open += 1
    try:
        yield
    finally:
        _open -= 1


async def _encoded(attempt: int, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[bytes, None]:
    with counted():
        async with contextlib.aclosing(batches):
            async for first, batch in batches:
                yield encode(attempt, first, batch) if batch else KEEP_ALIVE


def encode(attempt: int, first: int, batch: list[StreamEvent]) -> bytes:
    """The bytes of a batch. `first` is the position of its first event in the log."""
    return b"".join(
        as_event(*encoded(event), _id_of(event, attempt, None if first == NOWHERE else position))
        for position, event in joined(first, batch)
    )


def _id_of(event: StreamEvent, attempt: int, position: int | None) -> str | None:
    """The id of an event: a client that has seen it resumes there. None if the event has no position in a log."""
    if is_last(event):
        return end_of(attempt)
    return None if position is None else f"{attempt}-{position}"


def end_of(attempt: int) -> str:
    """The id of a turn's last event. A client that has seen it has seen all."""
    return f"{attempt}-end"


def position_of(event_id: str, attempt: int) -> int:
    """The position from which a client resumes that has seen this event; 0 if the id is not of this attempt."""
    id_attempt, _, position = event_id.strip().partition("-")
    is_number = position.isascii() and position.isdigit() and len(position) <= LONGEST_POSITION
    return int(position) if id_attempt == str(attempt) and is_number else 0

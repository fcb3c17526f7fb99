"""A turn as Server-Sent Events. An event's id has its position in the turn's log; a client resumes by it."""

import contextlib
from collections.abc import AsyncGenerator, Iterator

from django.conf import settings

from bedrock_chat.metrics import refusals
from bedrock_chat.metrics.instruments import Gauge
from bedrock_chat.wire.errors import ServiceUnavailable
from bedrock_chat.wire.event_stream import KEEP_ALIVE, EventStreamResponse
from bedrock_chat.wire.event_stream import event as as_event
from conversations.streaming.events import StreamEvent, encoded, goes_on, is_last, joined
from conversations.streaming.log import NOWHERE, Batch, Subscription

LONGEST_POSITION = 18  # digits

_open = 0


def streams_open() -> int:
    """How many event streams this process is sending now."""
    return _open


OPEN = Gauge("bedrock_chat_streams_open", "Event streams that are being sent.", read=streams_open)


def refuse_more() -> None:
    """Raises ServiceUnavailable if twice as many streams are open as this process has threads."""
    if _open >= settings.THREADS * 2:
        refusals.count("streams")
        raise ServiceUnavailable("This server has as many streams open as it can; try again.", retry_after=5)


def respond(subscription: Subscription) -> EventStreamResponse:
    """The response that sends a subscription's events."""
    response = respond_with(_encoded(subscription.attempt, subscription.batches))
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


def respond_with(pieces: AsyncGenerator[bytes, None]) -> EventStreamResponse:
    """The response that sends these pieces, counted as an open stream meanwhile."""
    return EventStreamResponse(_counted(pieces))


async def _counted(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    with counted():
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield piece


async def _encoded(attempt: int, batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(batches):
        async for first, batch in batches:
            yield piece_of(attempt, first, batch)


def piece_of(attempt: int, first: int, batch: list[StreamEvent]) -> bytes:
    """The bytes of a batch, or a comment for one without events: there was nothing to send for a while."""
    return encode(attempt, first, batch) if batch else KEEP_ALIVE


def encode(attempt: int, first: int, batch: list[StreamEvent]) -> bytes:
    """The bytes of a batch. `first` is the position of its first event in the log."""
    return b"".join(
        as_event(*encoded(event), _id_of(event, attempt, None if first == NOWHERE else position))
        for position, event in joined(first, batch)
    )


def _id_of(event: StreamEvent, attempt: int, position: int | None) -> str | None:
    """The id of an event: a client that has seen it resumes there.

    None if the event has no position in a log, or if it ends this stream and not the turn.
    """
    if goes_on(event):
        return None
    if is_last(event):
        return end_of(attempt)
    return None if position is None else f"{attempt}-{position}"


def end_of(attempt: int) -> str:
    """The id of a turn's last event. A client that has seen it has seen all."""
    return f"{attempt}-end"


def attempt_of(event_id: str) -> int:
    """The attempt of which a client has seen something; 0 if its last event's id does not say so."""
    attempt = event_id.strip().partition("-")[0]
    return int(attempt) if attempt.isascii() and attempt.isdigit() and len(attempt) <= LONGEST_POSITION else 0


def position_of(event_id: str, attempt: int) -> int:
    """The position from which a client resumes that has seen this event; 0 if the id is not of this attempt."""
    id_attempt, _, position = event_id.strip().partition("-")
    is_number = position.isascii() and position.isdigit() and len(position) <= LONGEST_POSITION
    return int(position) if id_attempt == str(attempt) and is_number else 0

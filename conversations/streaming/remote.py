"""Follows a turn that another process runs, or one that nobody listened to at its beginning.

Its events come through Redis if they can. Its end is read from the database, with one query a second for each such
turn, however many clients wait for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

from django.conf import settings

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process import shutdown, thread_pool
from bedrock_chat.wire.errors import NotFound, recorded
from conversations.models import Message, lease_length, lease_lives
from conversations.streaming import relay, replay
from conversations.streaming.events import Failed, StreamEvent, Waiting
from conversations.streaming.log import NOWHERE, Batch
from conversations.turn import leases

POLL_SECONDS = 1.0
QUIET_SECONDS = 15.0
WAITING_SENTENCE = "This answer is not written in pieces here. It follows whole when it is complete."

ReadEnd = Callable[[], list[StreamEvent] | None]
"""Reads the last events of a turn from the database; None while it runs. Called on a thread."""

_ends: dict[tuple[int, int], "asyncio.Task[list[StreamEvent]]"] = {}
"""Question and attempt → the one task that waits for that turn's end."""


async def follow(question: Message, offset: int, read_end: ReadEnd) -> AsyncGenerator[Batch, None]:
    """Yields the turn's events after `offset`, until the turn or this process ends. An error becomes the last event."""
    try:
        async for batch in _follow(question, offset, read_end):
            yield batch
    except Exception as error:  # noqa: BLE001  the listener gets it as an event; it is logged if the fault is ours
        yield NOWHERE, [Failed.of(recorded(error))]


async def _follow(question: Message, offset: int, read_end: ReadEnd) -> AsyncGenerator[Batch, None]:
    """Yields the events of a turn, one way or the other.

    1. A task waits for the turn's end in the database. All clients of the turn share it.
    2. With Redis, the events are relayed (`_relayed`). If some are missing or Redis fails, the next step follows.
    3. The client is told that the answer will come whole. An empty batch follows every QUIET_SECONDS.
    4. When the turn is over, all its events come in one batch, from the beginning.
    """
    end = _end_of(question, read_end)
    if settings.REDIS_URL:
        from redis.exceptions import RedisError  # noqa: PLC0415  redis-py takes 4 MB

        with contextlib.suppress(relay.Gap, RedisError):
            async for batch in _relayed(end, question, offset):
                yield batch
            return
    yield NOWHERE, [Waiting(WAITING_SENTENCE)]
    while not (await asyncio.wait({end}, timeout=QUIET_SECONDS))[0]:
        yield NOWHERE, []
    yield NOWHERE, end.result()


async def _relayed(
    end: "asyncio.Task[list[StreamEvent]]", question: Message, offset: int
) -> AsyncGenerator[Batch, None]:
    """Yields the events that come through Redis. Raises Gap and RedisError.

    If a second passes without events and the turn is over by the database, all its events come in one batch. An empty
    batch follows QUIET_SECONDS without events. If this process is to end, an error asks the client to connect again.
    """
    relayed = relay.follow(question.lease_holder, question.pk, question.attempt, offset)
    quiet_seconds = 0.0
    async with contextlib.aclosing(relayed):
        async for batch in relayed:
            if shutdown.draining():
                yield NOWHERE, [Failed.leaving()]
                return
            if batch[1]:
                quiet_seconds = 0.0
                yield batch
            elif end.done():  # the turn's process died, or its last events were lost
                yield NOWHERE, end.result()
                return
            elif (quiet_seconds := quiet_seconds + relay.READ_SECONDS) >= QUIET_SECONDS:
                quiet_seconds = 0.0
                yield batch


def _end_of(question: Message, read_end: ReadEnd) -> "asyncio.Task[list[StreamEvent]]":
    """The task that waits for this turn's end: one, however many clients wait for it."""
    key = question.pk, question.attempt
    task = _ends.get(key)
    if task is None:
        task = _ends[key] = asyncio.get_running_loop().create_task(_watch(read_end))
        task.add_done_callback(lambda _: _ends.pop(key, None))
    return task


async def _watch(read_end: ReadEnd) -> list[StreamEvent]:
    """Looks every POLL_SECONDS whether the turn is over, and returns its events once it is."""
    while (events := await thread_pool.shared().run(read_end)) is None:  # noqa: ASYNC110  nobody here would set an Event
        await asyncio.sleep(POLL_SECONDS)
    return events


def end_if_over(actor: Caller, question: Message) -> list[StreamEvent] | None:
    """All events of a question's newest turn, or the error that ends its stream; None while that turn runs.

    The error says that this process is about to end, or that the conversation was deleted.
    """
    if shutdown.draining():
        return [Failed.leaving()]
    row = Message.objects.select_related("conversation").filter(pk=question.pk).defer("content").first()
    if row is None:
        return [Failed.of(NotFound("The conversation was deleted meanwhile."))]
    if runs(row):  # the lease is perhaps another turn's, which has taken this one over
        return None
    return replay.events_of_newest_turn(actor, row.conversation, row)


def runs(question: Message) -> bool:
    """Whether the lease of a question's turn lives. One that is too long is shortened: the clock was set back."""
    expires_at, now = question.lease_expires_at, database_now()
    if expires_at is not None and expires_at > now + lease_length():
        leases.shorten(Message.objects.filter(pk=question.pk))
    return lease_lives(expires_at, now)

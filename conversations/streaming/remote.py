"""A turn that another process runs, or one that nobody listened to from its beginning.

Its words come through Redis where they can; its end is in the database, where one look a second is taken for each such
turn, however many wait for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from functools import partial

from django.conf import settings
from redis.exceptions import RedisError

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process import shutdown, thread_pool
from bedrock_chat.wire.errors import NotFound, ServiceUnavailable, recorded
from conversations.models import Message, lease_lives
from conversations.streaming import relay, replay
from conversations.streaming.events import Failed, StreamEvent, Waiting
from conversations.streaming.log import NOWHERE, Batch

POLL_SECONDS = 1.0
QUIET_SECONDS = 15.0
SENTENCE = "This answer is not written in pieces here. It follows whole when it is complete."

_ends: dict[tuple[int, int], "asyncio.Task[list[StreamEvent]]"] = {}
"""Question and attempt → the one task that watches for that turn's end."""


async def follow(actor: Caller, question: Message, offset: int) -> AsyncGenerator[Batch, None]:
    """What can be told of the turn behind `offset`, to its end or to that of this process."""
    try:
        async for batch in _follow(actor, question, offset):
            yield batch
    except Exception as error:  # noqa: BLE001  its listener is told, and what is our fault is recorded
        yield NOWHERE, [Failed.of(recorded(error))]


async def _follow(actor: Caller, question: Message, offset: int) -> AsyncGenerator[Batch, None]:
    end = _end_of(actor, question)
    if settings.REDIS_URL:
        with contextlib.suppress(relay.Gap, RedisError):
            async for batch in _relayed(end, question, offset):
                yield batch
            return
    yield NOWHERE, [Waiting(SENTENCE)]
    while not (await asyncio.wait({end}, timeout=QUIET_SECONDS))[0]:
        yield NOWHERE, []
    yield NOWHERE, end.result()


async def _relayed(
    end: "asyncio.Task[list[StreamEvent]]", question: Message, offset: int
) -> AsyncGenerator[Batch, None]:
    relayed = relay.follow(question.lease_holder, question.pk, question.attempt, offset)
    quiet = 0.0
    async with contextlib.aclosing(relayed):
        async for batch in relayed:
            if shutdown.draining():
                yield NOWHERE, [_leaving()]
                return
            if batch[1]:
                quiet = 0.0
                yield batch
            elif end.done():  # its process died, or what it said last was lost
                yield NOWHERE, end.result()
                return
            elif (quiet := quiet + relay.READ_SECONDS) >= QUIET_SECONDS:
                quiet = 0.0
                yield batch


def _end_of(actor: Caller, question: Message) -> "asyncio.Task[list[StreamEvent]]":
    """The task that watches for this turn's end, however many wait for it."""
    key = question.pk, question.attempt
    task = _ends.get(key)
    if task is None:
        task = _ends[key] = asyncio.get_running_loop().create_task(_watch(actor, question))
        task.add_done_callback(lambda _: _ends.pop(key, None))
    return task


async def _watch(actor: Caller, question: Message) -> list[StreamEvent]:
    look = partial(_end_if_over, actor, question)
    while (events := await thread_pool.shared().run(look)) is None:  # noqa: ASYNC110  nobody here would set an Event
        await asyncio.sleep(POLL_SECONDS)
    return events


def _end_if_over(actor: Caller, question: Message) -> list[StreamEvent] | None:
    """The end of a turn, or of this process; None while neither has come."""
    if shutdown.draining():
        return [_leaving()]
    now_stored = Message.objects.select_related("conversation").filter(pk=question.pk).defer("content").first()
    if now_stored is None:
        return [Failed.of(NotFound("The conversation was deleted meanwhile."))]
    if now_stored.attempt == question.attempt and lease_lives(now_stored.lease_expires_at, database_now()):
        return None
    return replay.events_of_newest_turn(actor, now_stored.conversation, now_stored)


def _leaving() -> StreamEvent:
    """The turn goes on in its own process: whoever comes back finds it."""
    return Failed.of(ServiceUnavailable("This server is shutting down; connect again.", retry_after=1), resume=True)

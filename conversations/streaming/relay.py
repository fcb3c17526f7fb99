"""Relays the events of turns from process to process through Redis.

A turn's log is copied into a Redis stream, some 50 ms behind, so that any process can serve a client who reconnects.
No turn needs Redis: when Redis is down, turns go on without it, and other processes find their end in the database.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from django.conf import settings

from bedrock_chat.wire.renderers import dumps
from conversations.streaming.events import decoded, encoded
from conversations.streaming.log import Batch, Log
from conversations.turn.leases import HOLDER

if TYPE_CHECKING:
    import redis.asyncio

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
RUNNING_SECONDS = 24 * 3600  # how long a stream stays if its process died before it ended the stream
ENDED_SECONDS = 60
APPEARANCE_TRIES = 6
PAUSE_SECONDS = 1.0
READ_SECONDS = 1.0
PREFIX = "bedrock-chat:turn-events"


class Gap(Exception):
    """Part of a stream is missing. The end of its turn has to be read from the database."""


def publisher(question_pk: int, attempt: int) -> Callable[[Log], object] | None:
    """The function that a log of this process calls when it has new events; None without Redis."""
    if not settings.REDIS_URL:
        return None
    return partial(_publisher().announce, _stream(HOLDER, question_pk, attempt))


async def follow(holder: str, question_pk: int, attempt: int, offset: int) -> AsyncGenerator[Batch, None]:
    """Yields the events of another process's turn after `offset`; an empty batch for every second without events.

    1. It waits a moment until the turn's stream is there.
    2. Every entry of the stream holds the events from position `start` on. Those before `offset` are skipped. If
       `start` is beyond `offset`, events are missing.
    3. The entry marked `ended` is the last one. If `offset` is beyond its end, it is no offset of this stream.

    Raises Gap if events are missing or `offset` is beyond the end, and RedisError.
    """
    from bedrock_chat.process import redis_client  # noqa: PLC0415  redis-py takes 4 MB

    name, last_id = _stream(holder, question_pk, attempt), "0"
    async with redis_client.connect_async() as client:
        await _wait_for_stream(client, name)
        while True:
            streams = await client.xread({name: last_id}, count=100, block=int(READ_SECONDS * 1000))
            if not streams:
                yield offset, []
                continue
            for entry_id, fields in streams[0][1]:
                last_id, start = entry_id, int(fields[b"start"])
                if start > offset:
                    raise Gap
                encoded_events = json.loads(fields[b"events"])
                if events := [decoded(*event) for event in encoded_events[offset - start :]]:
                    yield offset, events
                    offset += len(events)
                if b"ended" in fields:
                    if offset > start + len(encoded_events):
                        raise Gap  # the client claims to have seen more events than the turn had
                    return


async def _wait_for_stream(client: "redis.asyncio.Redis", name: str) -> None:
    """Waits until a stream is there: a turn that has just begun is in Redis a moment later.

    Raises Gap if it does not appear, because then nobody listened to the turn.
    """
    for _ in range(APPEARANCE_TRIES):
        if await client.exists(name):
            return
        await asyncio.sleep(GATHER_SECONDS)
    raise Gap


def _stream(holder: str, question_pk: int, attempt: int) -> str:
    return f"{PREFIX}:{holder}:{question_pk}:{attempt}"


@cache
def _publisher() -> "Publisher":
    return Publisher()


class Publisher:
    """One thread that copies the new events of this process's logs to Redis, many logs in one round trip."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._news: dict[str, Log] = {}
        self._published: dict[str, int] = {}  # stream → how many events it has
        threading.Thread(target=self._run, name="relay", daemon=True).start()

    def announce(self, name: str, log: Log) -> None:
        """Notes that a log has new events."""
        if name in self._news:
            return
        with self._changed:
            self._news[name] = log
            self._changed.notify()

    def _run(self) -> None:
        """The thread's loop, without an end.

        1. It waits until a log has new events, and then for GATHER_SECONDS, so that more of them gather.
        2. It copies them (`_publish`). If that fails, it keeps the logs for the next try, and pauses.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._news)
            time.sleep(GATHER_SECONDS)
            with self._changed:
                news, self._news = self._news, {}
            try:
                self._publish(news)
            except Exception as error:  # noqa: BLE001  whatever it was, the thread must live
                logger.warning("streams are not relayed for now: %s", type(error).__name__)
                self._keep(news)
                time.sleep(PAUSE_SECONDS)

    def _publish(self, news: dict[str, Log]) -> None:
        """Copies the new events of these logs, in one round trip. Raises RedisError.

        1. Each log's stream gets one entry: its missing events, their first position, and whether the log has ended.
        2. The stream expires after ENDED_SECONDS if its log has ended, else after RUNNING_SECONDS.
        3. Once Redis has taken all of it, `_published` is updated. Logs that have ended are dropped from it.
        """
        published: dict[str, int] = {}
        ended: list[str] = []
        from bedrock_chat.process import redis_client  # noqa: PLC0415  redis-py takes 4 MB

        with redis_client.shared().pipeline(transaction=False) as pipeline:
            for name, log in news.items():
                is_over = log.ended  # read before the events, so that none is missed once it is true
                start = self._published.get(name, 0)
                events = log.events[start:]
                published[name] = start + len(events)
                fields: Any = {"start": start, "events": dumps([encoded(event) for event in events])}
                pipeline.xadd(name, fields | ({"ended": 1} if is_over else {}))
                pipeline.expire(name, ENDED_SECONDS if is_over else RUNNING_SECONDS)
                if is_over:
                    ended.append(name)
            pipeline.execute()
        self._published |= published
        for name in ended:
            del self._published[name]

    def _keep(self, news: dict[str, Log]) -> None:
        """Keeps logs that could not be copied for the next try, but none that has ended: the database has its turn."""
        with self._changed:
            self._news = {name: log for name, log in news.items() if not log.ended} | self._news
        for name, log in news.items():
            if log.ended:
                self._published.pop(name, None)

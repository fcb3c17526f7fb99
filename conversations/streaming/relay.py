"""What turns say, from process to process through Redis.

A turn's log is copied into a Redis stream, some 50 ms behind, so that any process can serve a client who reconnects.
Redis is a convenience here: when it is away, a turn goes on as without it, and its end is found in the database.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from functools import cache, partial
from typing import Any

import redis.asyncio
from django.conf import settings

from bedrock_chat.process import redis_client
from bedrock_chat.wire.renderers import dumps
from conversations.streaming.events import decoded, encoded
from conversations.streaming.log import Batch, Log
from conversations.turn.leases import HOLDER

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
RUNNING_SECONDS = 24 * 3600  # how long a stream outlives a process that never ended it
ENDED_SECONDS = 60
APPEARANCE_TRIES = 6
PAUSE_SECONDS = 1.0
READ_SECONDS = 1.0
PREFIX = "bedrock-chat:turn-events"


class Gap(Exception):
    """Part of a stream was lost: its turn's end is in the database."""


def publisher(question_pk: int, attempt: int) -> Callable[[Log], object] | None:
    """What a log of this process calls when there is something new; None without Redis."""
    if not settings.REDIS_URL:
        return None
    return partial(_publisher().announce, _stream(HOLDER, question_pk, attempt))


async def follow(holder: str, question_pk: int, attempt: int, offset: int) -> AsyncGenerator[Batch, None]:
    """The log of a turn of another process, behind `offset`; an empty batch for every second of nothing.

    Raises Gap where part of it is not there, and RedisError.
    """
    name, last = _stream(holder, question_pk, attempt), "0"
    async with redis_client.connect_async() as client:
        await _appearance(client, name)
        while True:
            streams = await client.xread({name: last}, count=100, block=int(READ_SECONDS * 1000))
            if not streams:
                yield offset, []
                continue
            for entry, fields in streams[0][1]:
                last, start = entry, int(fields[b"start"])
                if start > offset:
                    raise Gap
                entries = json.loads(fields[b"events"])
                if events := [decoded(*event) for event in entries[offset - start :]]:
                    yield offset, events
                    offset += len(events)
                if b"ended" in fields:
                    if offset > start + len(entries):
                        raise Gap  # it never said as much as this client claims to have heard
                    return


async def _appearance(client: redis.asyncio.Redis, name: str) -> None:
    """A turn that has just begun is in Redis a moment later. Raises Gap where it is not: nobody listened to it."""
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
    """One thread that copies what is new in the logs of this process to Redis, many logs in one round trip."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._news: dict[str, Log] = {}
        self._published: dict[str, int] = {}  # stream → events that are there
        threading.Thread(target=self._run, name="relay", daemon=True).start()

    def announce(self, name: str, log: Log) -> None:
        """There is something new in a log."""
        if name in self._news:
            return
        with self._changed:
            self._news[name] = log
            self._changed.notify()

    def _run(self) -> None:
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
        published: dict[str, int] = {}
        ended: list[str] = []
        with redis_client.shared().pipeline(transaction=False) as pipeline:
            for name, log in news.items():
                is_over = log.ended  # before the events: whoever sees the end sees all of them
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
        """What could not be copied is tried again; of turns that have ended the database tells all there is."""
        with self._changed:
            self._news = {name: log for name, log in news.items() if not log.ended} | self._news
        for name, log in news.items():
            if log.ended:
                self._published.pop(name, None)

"""Between processes, through Redis where there is one: what a turn says, and the wish that it stop.

A turn's log is copied into a Redis stream, some 50 ms behind, so that any process can serve a client who reconnects;
stop requests go over a channel of the process that runs the turn. Redis is a convenience here: when it is away, a turn
goes on as without it, and its end is found in the database.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from functools import cache, partial
from typing import Any

import redis
import redis.asyncio
from django.conf import settings
from redis.exceptions import RedisError

from bedrock_chat.wire.renderers import dumps
from conversations.streaming.log import Batch, Log
from conversations.turn import registry
from conversations.turn.leases import HOLDER

logger = logging.getLogger(__name__)

GATHER_SECONDS = 0.05
RUNNING_SECONDS = 24 * 3600  # how long a stream outlives a process that never ended it
ENDED_SECONDS = 60
APPEARANCE_TRIES = 6
PAUSE_SECONDS = 1.0
READ_SECONDS = 1.0
PREFIX = "bedrock-chat:turns"


TIMEOUTS: dict[str, Any] = {"socket_timeout": 3, "socket_connect_timeout": 1}
"""Longer than a read blocks; nobody waits longer for a Redis that accepts and does not answer."""

_heard = threading.Event()


class Gap(Exception):
    """Part of a stream was lost: its turn's end is in the database."""


def publisher(question: int, attempt: int) -> Callable[[Log], object] | None:
    """What a log of this process calls when there is something new; None without Redis."""
    if not settings.REDIS_URL:
        return None
    return partial(_publisher().tell, _stream(HOLDER, question, attempt))


async def follow(holder: str, question: int, attempt: int, offset: int) -> AsyncGenerator[Batch, None]:
    """The log of a turn of another process, behind `offset`; an empty batch for every second of nothing.

    Raises Gap where part of it is not there, and RedisError.
    """
    name, last = _stream(holder, question, attempt), "0"
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL, **TIMEOUTS) as client:
        await _appearance(client, name)
        while True:
            found = await client.xread({name: last}, count=100, block=int(READ_SECONDS * 1000))
            if not found:
                yield offset, []
                continue
            for entry, fields in found[0][1]:
                last, start = entry, int(fields[b"start"])
                if start > offset:
                    raise Gap
                told = json.loads(fields[b"pieces"])
                pieces = [(kind, data) for kind, data in told[offset - start :]]
                if pieces:
                    yield offset, pieces
                    offset += len(pieces)
                if b"ended" in fields:
                    if offset > start + len(told):
                        raise Gap  # it never said as much as this client claims to have heard
                    return


async def _appearance(client: redis.asyncio.Redis, name: str) -> None:
    """A turn that has just begun is in Redis a moment later. Raises Gap where it is not: nobody listened to it."""
    for _ in range(APPEARANCE_TRIES):
        if await client.exists(name):
            return
        await asyncio.sleep(GATHER_SECONDS)
    raise Gap


def ask_to_stop(holder: str, question: int, attempt: int) -> None:
    """Tells the process that runs a turn to stop it. The database holds the same wish, should nobody hear this."""
    if not settings.REDIS_URL:
        return
    try:
        _client().publish(f"{PREFIX}:stop:{holder}", f"{question} {attempt}")
    except RedisError as error:
        logger.warning("a stop request goes by the database alone: %s", type(error).__name__)


def hear() -> None:
    """From now on this process hears requests to stop its turns."""
    if settings.REDIS_URL:
        _hearing()


def hears() -> bool:
    """Whether requests to stop come this way just now; else somebody has to look them up."""
    return _heard.is_set()


def _stream(holder: str, question: int, attempt: int) -> str:
    return f"{PREFIX}:{holder}:{question}:{attempt}"


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, **TIMEOUTS)


@cache
def _publisher() -> "Publisher":
    return Publisher()


@cache
def _hearing() -> threading.Thread:
    thread = threading.Thread(target=_hear, name="stop requests", daemon=True)
    thread.start()
    return thread


def _hear() -> None:
    while True:
        try:
            client = redis.Redis.from_url(settings.REDIS_URL, health_check_interval=5, **TIMEOUTS)
            with client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                channel.subscribe(f"{PREFIX}:stop:{HOLDER}")
                while True:
                    message = channel.get_message(timeout=1)  # which also asks whether anybody is there
                    _heard.set()
                    if message is not None:
                        question, attempt = map(int, message["data"].split())
                        registry.stop(question, attempt)
        except (RedisError, ValueError, OSError) as error:
            _heard.clear()
            logger.warning("stop requests are looked up in the database for now: %s", type(error).__name__)
            time.sleep(PAUSE_SECONDS)


class Publisher:
    """One thread that copies what is new in the logs of this process to Redis, many logs in one round trip."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._news: dict[str, Log] = {}
        self._told: dict[str, int] = {}  # stream → pieces that are there
        threading.Thread(target=self._run, name="relay", daemon=True).start()

    def tell(self, name: str, log: Log) -> None:
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
        told: dict[str, int] = {}
        ended: list[str] = []
        with _client().pipeline(transaction=False) as pipeline:
            for name, log in news.items():
                is_over = log.ended  # before the pieces: whoever sees the end sees all of them
                start = self._told.get(name, 0)
                pieces = log.pieces[start:]
                told[name] = start + len(pieces)
                fields: Any = {"start": start, "pieces": dumps(pieces), **({"ended": 1} if is_over else {})}
                pipeline.xadd(name, fields)
                pipeline.expire(name, ENDED_SECONDS if is_over else RUNNING_SECONDS)
                if is_over:
                    ended.append(name)
            pipeline.execute()
        self._told |= told
        for name in ended:
            del self._told[name]

    def _keep(self, news: dict[str, Log]) -> None:
        """What could not be told is tried again; of turns that have ended the database tells all there is."""
        with self._changed:
            self._news = {name: log for name, log in news.items() if not log.ended} | self._news
        for name, log in news.items():
            if log.ended:
                self._told.pop(name, None)

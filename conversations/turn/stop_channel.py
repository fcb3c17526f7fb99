"""Requests to stop a turn, from process to process through Redis. The database holds the same wish, should one be lost.

Each process hears the requests for its own turns on a channel of its own.
"""

import logging
import threading
import time
from functools import cache

from django.conf import settings
from redis.exceptions import RedisError

from bedrock_chat.process import redis_client
from conversations.turn import registry
from conversations.turn.leases import HOLDER

logger = logging.getLogger(__name__)

CHANNEL = "bedrock-chat:turns:stop"
PAUSE_SECONDS = 1.0

_heard = threading.Event()


def request_stop(holder: str, question_pk: int, attempt: int) -> None:
    """Asks the process that runs a turn to stop it; nothing where there is no Redis."""
    if not settings.REDIS_URL:
        return
    try:
        redis_client.shared().publish(f"{CHANNEL}:{holder}", f"{question_pk} {attempt}")
    except RedisError as error:
        logger.warning("a stop request goes by the database alone: %s", type(error).__name__)


def listen() -> None:
    """From now on this process hears requests to stop its turns. Only the first call changes anything."""
    if settings.REDIS_URL:
        _listening()


def is_listening() -> bool:
    """Whether requests come this way just now; else somebody has to look them up."""
    return _heard.is_set()


@cache
def _listening() -> threading.Thread:
    thread = threading.Thread(target=_listen, name="stop requests", daemon=True)
    thread.start()
    return thread


def _listen() -> None:
    while True:
        try:
            client = redis_client.connect(health_check_interval=5)
            with client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                channel.subscribe(f"{CHANNEL}:{HOLDER}")
                while True:
                    message = channel.get_message(timeout=1)  # which also asks whether anybody is there
                    _heard.set()
                    if message is not None:
                        question_pk, attempt = map(int, message["data"].split())
                        registry.stop(question_pk, attempt)
        except (RedisError, ValueError, OSError) as error:
            _heard.clear()
            logger.warning("stop requests are looked up in the database for now: %s", type(error).__name__)
            time.sleep(PAUSE_SECONDS)

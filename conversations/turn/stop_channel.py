"""Sends requests to stop a turn from process to process through Redis.

The database has the same requests, in case one is lost. Each process listens on a channel of its own, for requests to
stop its own turns.
"""

import logging
import threading
import time
from functools import cache

from django.conf import settings

from conversations.turn import registry
from conversations.turn.leases import HOLDER

logger = logging.getLogger(__name__)

CHANNEL = "bedrock-chat:turns:stop"
PAUSE_SECONDS = 1.0
PING_SECONDS = 2
MOST_UNANSWERED = 2  # pings; once one is due, another follows every second

_connected = threading.Event()


def request_stop(holder: str, question_pk: int, attempt: int) -> None:
    """Asks the process `holder`, which runs a turn, to stop it. Does nothing without Redis."""
    if not settings.REDIS_URL:
        return
    from redis.exceptions import RedisError  # noqa: PLC0415  redis-py takes 4 MB

    from bedrock_chat.process import redis_client  # noqa: PLC0415

    try:
        redis_client.shared().publish(f"{CHANNEL}:{holder}", f"{question_pk} {attempt}")
    except RedisError as error:
        logger.warning("a stop request goes by the database alone: %s", type(error).__name__)


def listen() -> None:
    """Begins to listen for requests to stop this process's turns. Only the first call changes anything."""
    if settings.REDIS_URL:
        _listening()


def is_listening() -> bool:
    """Whether requests arrive through Redis right now. If not, they have to be looked up in the database."""
    return _connected.is_set()


@cache
def _listening() -> threading.Thread:
    thread = threading.Thread(target=_listen, name="stop requests", daemon=True)
    thread.start()
    return thread


def _listen() -> None:
    """Stops the turns that messages name, until the process ends. After an error it pauses and connects again."""
    from redis.exceptions import RedisError  # noqa: PLC0415  redis-py takes 4 MB

    from bedrock_chat.process import redis_client  # noqa: PLC0415

    while True:
        try:
            client = redis_client.connect(health_check_interval=PING_SECONDS)
            with client.pubsub() as channel:  # type: ignore[no-untyped-call]
                channel.subscribe(f"{CHANNEL}:{HOLDER}")
                while True:
                    message = channel.get_message(timeout=1)  # this also sends the pings
                    if channel.health_check_response_counter > MOST_UNANSWERED:
                        raise RedisError("Redis does not answer.")
                    if message is None:
                        continue
                    _connected.set()  # the subscription was confirmed, or a request has come
                    if message["type"] == "message":
                        question_pk, attempt = map(int, message["data"].split())
                        registry.stop(question_pk, attempt)
        except (RedisError, ValueError, OSError) as error:
            _connected.clear()
            logger.warning("stop requests are looked up in the database for now: %s", type(error).__name__)
            time.sleep(PAUSE_SECONDS)

"""Messages from process to process through Redis. Each may get lost: the database has whatever they tell."""

import logging
import threading
import time
from collections.abc import Callable
from functools import cache
from queue import Empty, SimpleQueue

from django.conf import settings

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
PING_SECONDS = 2
MOST_UNANSWERED = 2  # pings; once one is due, another follows every second
MOST_UNSENT = 10_000
MOST_AT_ONCE = 1000


def publish(channel: str, message: str, *, what: str) -> None:
    """Sends a message to whoever listens. Does nothing without Redis. `what` names such messages in the log."""
    if not settings.REDIS_URL:
        return
    from redis.exceptions import RedisError  # noqa: PLC0415  redis-py takes 4 MB

    from bedrock_chat.process import redis_client  # noqa: PLC0415

    try:
        redis_client.shared().publish(channel, message)
    except RedisError as error:
        logger.warning("%s go by the database alone: %s", what, type(error).__name__)


def publish_soon(channel: str, message: str, *, what: str) -> None:
    """As `publish`, from a thread of its own: for code that must not wait. Beyond MOST_UNSENT, messages are dropped."""
    if settings.REDIS_URL and (outbox := _outbox()).qsize() < MOST_UNSENT:
        outbox.put((channel, message, what))


@cache
def _outbox() -> "SimpleQueue[tuple[str, str, str]]":
    outbox = SimpleQueue[tuple[str, str, str]]()
    threading.Thread(target=_send_all, args=(outbox,), name="redis messages", daemon=True).start()
    return outbox


def _send_all(outbox: "SimpleQueue[tuple[str, str, str]]") -> None:
    """The thread's loop, without an end: what has gathered goes out in one round trip, or is dropped."""
    from bedrock_chat.process import redis_client  # noqa: PLC0415  redis-py takes 4 MB

    while True:
        messages = [outbox.get()]
        try:
            while len(messages) < MOST_AT_ONCE:
                messages.append(outbox.get_nowait())
        except Empty:
            pass
        try:
            with redis_client.shared().pipeline(transaction=False) as pipeline:
                for channel, message, _ in messages:
                    pipeline.publish(channel, message)
                pipeline.execute()
        except Exception as error:  # noqa: BLE001  whatever it was, the thread must live
            logger.warning("%s go by the database alone: %s", messages[0][2], type(error).__name__)


class Listener:
    """A thread that takes the messages of one channel until the process ends. It starts when it is first asked to.

    `take` is called with each message; a ValueError says that it is none of ours. `what` names them in the log.
    """

    def __init__(self, channel: str, take: Callable[[str], object], *, what: str) -> None:
        self._channel, self._take, self._what = channel, take, what
        self._connected = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to listen. Only the first call changes anything, and none does without Redis."""
        if self._thread is not None or not settings.REDIS_URL:
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._what, daemon=True)
                self._thread.start()

    def is_listening(self) -> bool:
        """Whether messages arrive right now. If not, what they tell has to be looked up in the database."""
        return self._connected.is_set()

    def _run(self) -> None:
        """The thread's loop. After an error it pauses and connects again."""
        from redis.exceptions import RedisError  # noqa: PLC0415  redis-py takes 4 MB

        while True:
            try:
                self._listen()
            except (RedisError, ValueError, OSError) as error:
                self._connected.clear()
                logger.warning("%s are looked up in the database for now: %s", self._what, type(error).__name__)
                time.sleep(PAUSE_SECONDS)

    def _listen(self) -> None:
        """Raises RedisError where Redis is away or silent, and what `take` raises."""
        from redis.exceptions import RedisError  # noqa: PLC0415  redis-py takes 4 MB

        from bedrock_chat.process import redis_client  # noqa: PLC0415

        client = redis_client.connect(health_check_interval=PING_SECONDS)
        with client.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(self._channel)
            while True:
                message = channel.get_message(timeout=1)  # this also sends the pings
                if channel.health_check_response_counter > MOST_UNANSWERED:
                    raise RedisError("Redis does not answer.")
                if message is None:
                    continue
                self._connected.set()  # the subscription was confirmed, or a message has come
                if message["type"] == "message":
                    self._take(message["data"].decode())

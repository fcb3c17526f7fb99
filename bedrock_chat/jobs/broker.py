"""Messages that tell Celery workers of jobs, through a broker (CELERY_BROKER_URL). Without the setting there are none.

A message holds a job's id and nothing else. It may be lost, late, or come twice: the job's row decides, and `sweep`
sends again what is missing. So nobody waits for the broker: one thread of the process sends, and what it cannot send
it drops. Celery is imported on that thread, and only where the setting is.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Full, Queue
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings

from bedrock_chat.database import waiting
from bedrock_chat.resilience import deadlines
from bedrock_chat.resilience.dependencies import Dependency

if TYPE_CHECKING:
    from kombu import Connection, Producer

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 2.0
SEND_SECONDS = 2.5
"""For one message in all, connecting included, and for a sign of life. After that the broker counts as away."""
MOST_UNSENT = 1000

Message = tuple[str, int]
"""A job's kind and its id."""


def is_used() -> bool:
    return bool(settings.CELERY_BROKER_URL)


def takes_messages() -> bool:
    """Whether this process sends messages, and one that is sent now has a chance. Never waits.

    Only servers and workers send. A command may end before its thread has sent anything; the sweep sees its jobs.
    """
    return is_used() and waiting.is_enforced() and not BROKER.is_away


def queue_name(kind: str) -> str:
    """The queue of this kind, in the broker. A worker listens to those of the kinds that its version knows."""
    return f"{settings.CELERY_QUEUE}-{kind.replace(' ', '-')}"


def is_redis() -> bool:
    return _scheme() in ("redis", "rediss", "redis+socket", "sentinel")


def _scheme() -> str:
    return urlsplit(settings.CELERY_BROKER_URL).scheme


def options() -> dict[str, Any]:
    """How every connection uses the broker, in the words of its transport, with what CELERY_BROKER_OPTIONS adds."""
    own: dict[str, Any] = {}
    if is_redis():
        own = {
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": ANSWER_SECONDS,  # longer than a worker's command that waits for messages: 1 s
            "socket_keepalive": True,
            "health_check_interval": 10,
        }
    elif _scheme() == "sqs":
        own = {"region": settings.AWS_REGION}
    return {**own, **settings.CELERY_BROKER_OPTIONS}


# ---- Connections ----------------------------------------------------------------------------------------------------


def _celery() -> Any:
    """The module, which loads Celery: that takes a second on a busy machine, and is no fault of the broker's."""
    from bedrock_chat.jobs import celery  # noqa: PLC0415  only where Celery delivers

    return celery


def _connect() -> "Connection":
    """A new connection of the caller's own, also while the broker is away. Raises whatever is wrong, in time."""
    bounds: dict[str, Any] = {}  # a worker, who waits for messages, cannot have them
    if _scheme() in ("amqp", "amqps"):
        bounds = {"read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS, "confirm_publish": True}
    elif _scheme() == "sqs":
        retries = {"max_attempts": 1}
        bounds = {
            "client-config": {
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": ANSWER_SECONDS,
                "retries": retries,
            }
        }
    connection: Connection = _celery().app.connection_for_write(transport_options={**bounds, **options()})
    try:
        connection.connect()
    except BaseException:
        connection.release()
        raise
    return connection


@contextmanager
def _connected() -> "Iterator[Connection]":
    connection = _connect()
    try:
        yield connection
    finally:
        connection.release()


def _ping() -> None:
    _celery()
    deadlines.within(SEND_SECONDS, _greet)


def _greet() -> None:
    with _connected() as connection:
        connection.channel()  # the broker must answer for that


BROKER = Dependency("The broker", _ping)


def unread(kind: str) -> int:
    """How many messages of this kind wait in the broker for a worker. Raises whatever is wrong."""
    with _connected() as connection:
        try:
            channel: Any = connection.channel()
            return int(channel.queue_declare(queue_name(kind), passive=True).message_count)
        except connection.channel_errors:  # there is no such queue: nobody has sent or wanted anything yet
            return 0


# ---- Sending --------------------------------------------------------------------------------------------------------


class _Sender:
    """The one thread of this process that sends. It is started with the first message."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._unsent: Queue[Message] = Queue(MOST_UNSENT)
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def put(self, message: Message, timeout: float) -> None:
        if BROKER.is_away:
            return
        try:
            self._start()
            self._unsent.put(message, block=timeout > 0, timeout=timeout or None)
        except (Full, RuntimeError):  # or the system has no thread to give; the sweep sends it again
            logger.warning("no message was sent of a job %s: too many wait for the broker", message[0])

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="job messages", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            message = self._unsent.get()
            if BROKER.is_away:
                continue
            try:
                _celery()
                with deadlines.hang_up_after(SEND_SECONDS, _say_that_it_is_silent):
                    self._send(message)
            except Exception as error:  # noqa: BLE001  each transport has errors of its own
                BROKER.failed(error)
            else:
                BROKER.answered()

    def _send(self, message: Message) -> None:
        """Tries once more where the connection was idle, which the broker may have closed meanwhile."""
        if self._producer is not None:
            try:
                _publish(message, self._producer)
            except Exception:  # noqa: BLE001  the second attempt finds out what is wrong
                self._disconnect()
            else:
                return
        from kombu import Producer  # noqa: PLC0415

        self._connection = _connect()
        try:
            self._producer = Producer(self._connection.channel(), auto_declare=False)
            _publish(message, self._producer)
        except BaseException:
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it is broken, in whatever way
                connection.release()


def _publish(message: Message, producer: "Producer") -> None:
    kind, pk = message
    celery = _celery()
    celery.app.send_task(
        celery.do.name, [pk], queue=queue_name(kind), producer=producer, retry=False, ignore_result=True
    )


def _say_that_it_is_silent() -> None:
    """The thread that sends still waits, up to the time-outs of its socket. Nobody else has to."""
    BROKER.failed(TimeoutError("The broker did not answer in time."))


_sender = _Sender()


def send(kind: str, pk: int) -> None:
    """Tells Celery's workers of a job that has been committed. Never waits, and raises nothing."""
    _sender.put((kind, pk), 0.0)


def send_patiently(kind: str, pk: int) -> None:
    """As `send`; but waits for a while if many others are to be sent first."""
    _sender.put((kind, pk), SEND_SECONDS)


def begin() -> None:
    """Loads Celery, and finds out whether the broker is there, on a thread of its own: no request waits for either."""
    threading.Thread(target=_begin, name="broker", daemon=True).start()


def _begin() -> None:
    try:
        _ping()
    except Exception as error:  # noqa: BLE001  each transport has errors of its own
        BROKER.failed(error)

"""The worker that Celery tells of jobs: `celery -A bedrock_chat.jobs.celery worker`.

Celery delivers, and does nothing else. Its one task takes a job's id, claims the row as `run_worker` does, and runs the
job under the same lease; so it does not matter whether a message is lost, comes late, or twice. This module is imported
only where CELERY_BROKER_URL is set.
"""

import logging
import os
import signal
import sys
import threading
import time
from typing import Any

import django
from celery import Celery, signals
from celery.concurrency import get_implementation
from celery.concurrency.thread import TaskPool
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from kombu import Exchange, Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bedrock_chat.settings")
if not apps.ready:
    django.setup()

from bedrock_chat.database import service, waiting
from bedrock_chat.database.connections import release_connection
from bedrock_chat.jobs import broker, lines, queue, sweep
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.jobs.worker import JOBS_PATIENCE, LeaseHolder
from bedrock_chat.process import startup, telemetry
from bedrock_chat.process.shutdown import leave

CLOSE_SECONDS = 5.0
"""How long Celery may take to end when all jobs have ended. A broker that is silent would keep it for ever."""


def _make_app() -> Celery:
    if not broker.is_used():
        raise ImproperlyConfigured("CELERY_BROKER_URL names the broker through which Celery delivers. It is not set.")
    app = Celery("bedrock_chat", fixups=[])  # without its ways with Django's connections and checks: we have our own
    app.conf.update(
        broker_url=settings.CELERY_BROKER_URL,
        broker_transport_options=broker.options(),
        broker_connection_timeout=broker.CONNECT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # for ever: the broker comes back
        task_queues=[_queue(kind) for kind in settings.JOBS],
        task_default_queue=settings.CELERY_QUEUE,
        task_create_missing_queues=False,
        task_acks_late=False,  # the lease says whether a job is done, not the message
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        worker_pool="threads",
        worker_concurrency=settings.WORKER_CONCURRENCY,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=broker.is_redis(),  # Celery knows how to with no other broker
        worker_enable_remote_control=False,  # whoever can write to the broker could stop workers
        worker_cancel_long_running_tasks_on_connection_loss=True,  # of which there are none without acks_late
        worker_redirect_stdouts=False,
    )
    return app


def _queue(kind: str) -> Queue:
    name = broker.queue_name(kind)
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


app = _make_app()


class CeleryWorker(LeaseHolder):
    """A worker to which Celery brings the ids of jobs, on Celery's threads."""

    def __init__(self, concurrency: int) -> None:
        super().__init__(concurrency)
        self._left = threading.Event()
        self._claiming = (
            threading.Lock()
        )  # from counting what runs to adding the claim, or two threads overstep a bound

    def start(self) -> bool:
        """Returns when jobs may be brought to this worker, however long the database is away. False: stopped before."""
        if not self._arrive():
            return False
        self._beat()
        for work in (self._sweep, self._end):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()
        return True

    def do(self, pk: int) -> None:
        """Runs the job with this id, unless it is not due, is somebody else's, or this worker is about to end.

        It is not begun either while this worker runs as many of its kind as it may (JOB_SHARES). For such jobs no other
        message comes soon, so a thread that has done a job of a bounded kind goes on with the next one that is due. The
        message of a job that stands in line begins the first of that line.
        """
        job = self._claim(pk=pk)
        if job is None and (kind := self._line_of(pk)) is not None:
            job = self._claim(kind=kind)
        while job is not None:
            self._do(job)
            job = self._claim(kind=job.kind) if job.kind in settings.JOB_SHARES else None

    def _claim(self, *, pk: int | None = None, kind: str | None = None) -> Claimed | None:
        try:
            with waiting.at_most(settings.DATABASE_TIMEOUT), self._claiming:
                if self._stopping:
                    if pk is not None:
                        sweep.put_back(pk)
                    return None
                claimed = queue.claim(self.id, 1, pk=pk, kind=kind, room=self._room())
                for job in claimed:
                    self._claims.add(job)
        finally:
            release_connection()
        return claimed[0] if claimed else None

    def _line_of(self, pk: int) -> str | None:
        """The kind of a job that stands in line."""
        try:
            with waiting.at_most(settings.DATABASE_TIMEOUT):
                return None if self._stopping else lines.kind_of(pk)
        finally:
            release_connection()

    def wait_for_end(self) -> None:
        """Returns when this worker's row is gone, and what it ran has ended or was given back."""
        self.stop()
        self._left.wait(settings.SHUTDOWN_GRACE + CLOSE_SECONDS)

    def _sweep(self) -> None:
        while not self._stopping:
            time.sleep(sweep.sweep())

    def _end(self) -> None:
        """Waits for a signal, then ends what this worker is, and at last the process: Celery itself would wait for ever
        for a thread in the middle of a job, and for a broker that is silent.
        """
        while not self._stopping:
            self._changed.wait(60)  # it is set by each job that ends, too
        self._leave()
        self._left.set()
        if not self._claims:
            time.sleep(CLOSE_SECONDS)
        leave(0)


_worker: CeleryWorker | None = None


@app.task(name="bedrock_chat.do")
def do(pk: int) -> None:
    """The one task: the job with this id may be due."""
    assert _worker is not None, "Only Celery's workers do jobs."
    _worker.do(pk)


app.finalize()
for name in set(app.tasks) - {do.name}:  # Celery's own, which nothing here uses, and a message could ask for
    del app.tasks[name]


# ---- The life of a worker's process ---------------------------------------------------------------------------------


@signals.setup_logging.connect
def _keep_our_logs(**_: Any) -> None:
    """With a receiver of this signal, Celery leaves Django's logs alone. Its lines for each message are too many."""
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.worker_init.connect
def _begin(sender: Any, **_: Any) -> None:
    """Exits with a sentence where this worker cannot work."""
    global _worker  # noqa: PLW0603  one worker a process
    if get_implementation(sender.pool_cls) is not TaskPool:
        sys.exit("Jobs need Celery's pool of threads, which is the default here: leave -P out, or give it -P threads.")
    telemetry.begin("worker")
    service.begin(settings.DATABASE_TIMEOUT * JOBS_PATIENCE)
    try:
        startup.refuse_what_lacks()
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration: {error}")
    _worker = CeleryWorker(sender.concurrency)
    signal.signal(signal.SIGTERM, _stop)  # Celery replaces it when it begins to work
    if not _worker.start():
        sys.exit(0)


@signals.worker_ready.connect
def _say(sender: Any, **_: Any) -> None:
    sys.stdout.write(f"Working, {sender.pool.limit} jobs at a time\n")
    sys.stdout.flush()


_signalled: list[object] = []


@signals.worker_shutting_down.connect
def _stop(*_: object, **__: object) -> None:
    """In the handler of SIGTERM. A second one means now."""
    if _signalled:
        os._exit(1)
    _signalled.append(None)
    if _worker is not None:
        _worker.stop()


@signals.worker_shutdown.connect
def _finish(**_: Any) -> None:
    if _worker is not None:
        _worker.wait_for_end()

"""A process that does jobs: it claims what is due, runs so many at a time, and ends without losing any."""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import FrameType

from django.conf import settings
from django.db import transaction

from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.jobs import queue, waking
from bedrock_chat.jobs.models import Worker
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from bedrock_chat.process import heartbeat
from bedrock_chat.process.thread_pool import ThreadPool
from bedrock_chat.wire.ids import new_id

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
OUTRUN_SECONDS = 0.02  # after something was due and others were quicker, or hold its row
SEEN_SECONDS = 5.0
SCHEDULE_SECONDS = 60.0
MISSED = 3  # a worker that has been silent so many times is not there
FORGOTTEN = timedelta(days=1)


class JobRunner:
    """Runs up to `concurrency` jobs, each on a thread of its own; most of them wait for something."""

    def __init__(self, concurrency: int) -> None:
        self.id = new_id()
        self._concurrency = concurrency
        self._threads = ThreadPool(concurrency, name="job")
        self._changed = waking.ReentrantEvent()
        self._lock = threading.Lock()
        self._running: set[Claimed] = set()
        self._stopping = False

    def run(self, on_started: Callable[[], object]) -> None:
        """Works until it is stopped, then waits for what runs, SHUTDOWN_GRACE at most, and gives the rest back."""
        queue.follow_schedule()
        self._be_seen()
        on_started()
        heartbeat.register("worker", SEEN_SECONDS, self._be_seen)
        heartbeat.register("job leases", settings.JOB_LEASE_SECONDS / 3, self._renew)
        heartbeat.register("job schedule", SCHEDULE_SECONDS, queue.follow_schedule)
        heartbeat.start()
        waking.start(self._changed.set)
        try:
            while not self._stopping:
                self._changed.clear()
                if pause := self._take():
                    self._changed.wait(pause)
        finally:
            self._leave()

    def stop(self, *_: object) -> None:
        """Ends the worker gently; also what its signals call."""
        self._stopping = True
        self._changed.set()

    # ---- Working ----

    def _take(self) -> float:
        """Begins what is due and fits; gives the seconds to sleep before there may be more, unless woken."""
        free = self._concurrency - len(self._running)
        if free <= 0:
            return LOOK_SECONDS  # whatever falls due meanwhile, the end of a job wakes
        try:
            due = queue.next_due()
            wait = LOOK_SECONDS if due is None else (due - database_now()).total_seconds()
            if wait > 0:
                return min(LOOK_SECONDS, wait)
            claimed = queue.claim(self.id, free)
        except Exception:
            # A database that is away comes back; until then there is nothing to be done.
            logger.exception("jobs cannot be claimed for now")
            return LOOK_SECONDS
        finally:
            release_connection()
        for job in claimed:
            self._begin(job)
        return 0.0 if claimed else OUTRUN_SECONDS

    def _begin(self, job: Claimed) -> None:
        with self._lock:
            for older in self._running:
                if older.pk == job.pk:
                    older.lose()
            self._running.add(job)
        self._threads.submit(partial(self._do, job))

    def _do(self, job: Claimed) -> None:
        started = time.monotonic()
        try:
            _perform(job)
            level = logging.DEBUG if job.key in queue.schedule() else logging.INFO  # those would be a line every 2 s
            logger.log(level, "job %s %d done in %.3f s", job.kind, job.pk, time.monotonic() - started)
        except LeaseLost:
            logger.warning("job %s %d was taken over by somebody else", job.kind, job.pk)
        except Exception as error:
            logger.exception("job %s %d failed, attempt %d", job.kind, job.pk, job.attempt)
            _tell_failure(job, error)
        finally:
            with self._lock:
                self._running.discard(job)
            try:
                release_connection()
            finally:
                self._changed.set()

    # ---- Being there ----

    def _renew(self) -> None:
        with self._lock:
            running = list(self._running)
        queue.renew(self.id, running)

    def _be_seen(self) -> None:
        now = database_now()
        Worker.objects.update_or_create(
            id=self.id,
            defaults={"seen_at": now},
            create_defaults={
                "host": socket.gethostname()[:255],
                "process": os.getpid(),
                "concurrency": self._concurrency,
                "started_at": now,
                "seen_at": now,
            },
        )
        Worker.objects.filter(seen_at__lt=now - FORGOTTEN).delete()

    def _leave(self) -> None:
        end = time.monotonic() + settings.SHUTDOWN_GRACE
        while self._running and time.monotonic() < end:
            self._changed.clear()
            self._changed.wait(min(0.1, max(0.0, end - time.monotonic())))
        heartbeat.unregister("worker")
        heartbeat.unregister("job leases")
        heartbeat.unregister("job schedule")
        with self._lock:
            left = list(self._running)
        for job in left:
            queue.give_back(job)
        Worker.objects.filter(id=self.id).delete()
        release_connection()


def _perform(job: Claimed) -> None:
    """Has a job done. Who does it may finish it with its result; what did not is finished here."""
    queue.handler_of(job.kind)(job)
    if not job.finished:
        with transaction.atomic():
            job.finish()


def _tell_failure(job: Claimed, error: Exception) -> None:
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    try:
        queue.fail(job, reason)
    except Exception:
        logger.exception("the failure of job %s %d could not be written; its lease will run out", job.kind, job.pk)


def run(concurrency: int, *, on_started: Callable[[], object], heed_interrupt: bool = True) -> None:
    """The worker of this process, until SIGTERM or SIGINT; a second signal ends it at once.

    Without `heed_interrupt` Ctrl-C, which reaches all of a terminal's processes, is somebody else's to act on.
    """
    worker = JobRunner(concurrency)
    signalled: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if signalled:
            os._exit(1)
        signalled.append(number)
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop if heed_interrupt else signal.SIG_IGN)
    worker.run(on_started)


def workers_seen() -> int:
    """Workers that are there just now, in any process on this database."""
    since = database_now() - timedelta(seconds=SEEN_SECONDS * MISSED)
    return Worker.objects.filter(seen_at__gte=since).count()

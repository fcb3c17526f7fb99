"""A process that does jobs: it claims what is due, runs so many at a time, and ends without losing any."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import FrameType

from django.conf import settings
from django.db import DatabaseError

from bedrock_chat.database import service, waiting
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.jobs import performing, queue, waking
from bedrock_chat.jobs.backlog import SEEN_SECONDS
from bedrock_chat.jobs.claims import Claims
from bedrock_chat.jobs.models import Worker
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.process import heartbeat, startup, telemetry
from bedrock_chat.process.thread_pool import ThreadPool
from bedrock_chat.wire.ids import new_id

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
OUTRUN_SECONDS = 0.02  # the pause after a job was due but others claimed it first, or hold its row
SCHEDULE_SECONDS = 60.0
FORGOTTEN = timedelta(days=1)
JOBS_PATIENCE = 6  # a job may wait so many times DATABASE_TIMEOUT for a statement: nobody waits for the job
LEAVE_SECONDS = 2.0


class LeaseHolder:
    """A process that runs claimed jobs: it renews their leases, is seen as a worker, and keeps the schedule."""

    def __init__(self, concurrency: int) -> None:
        self.id = new_id()
        self._concurrency = concurrency
        self._changed = waking.ReentrantEvent()
        self._claims = Claims(self.id)
        self._stopping = False

    def _arrive(self) -> bool:
        """Writes the schedule and this worker's row, however long the database is away. False: stopped before that."""
        while not self._stopping:
            try:
                with waiting.at_most(settings.DATABASE_TIMEOUT):
                    queue.follow_schedule()
                    self._report_presence()
                return True
            except DatabaseError as error:  # it is away or locked, or `migrate` has not run yet
                logger.warning("the worker cannot begin for now: %s", str(error).strip())
                self._changed.wait(LOOK_SECONDS)
            finally:
                release_connection()
        return False

    def _beat(self) -> None:
        """Has the heartbeat do what must happen every few seconds for as long as this worker is there."""
        heartbeat.register("worker", SEEN_SECONDS, self._report_presence)
        heartbeat.register("job leases", settings.JOB_LEASE_SECONDS / 3, self._claims.renew)
        heartbeat.register("job schedule", SCHEDULE_SECONDS, queue.follow_schedule)
        heartbeat.start()

    def _room(self) -> dict[str, int]:
        """How many more jobs this worker may run of each kind that has a share of its places (JOB_SHARES)."""
        bounds = {kind: max(1, int(share * self._concurrency)) for kind, share in settings.JOB_SHARES.items()}
        return self._claims.room(bounds)

    def stop(self, *_: object) -> None:
        """Ends the worker gently. Signal handlers may call it."""
        self._stopping = True
        self._changed.set()

    # ---- Working ----

    def _do(self, job: Claimed) -> None:
        """On a thread: runs a job, and wakes the worker, which has a free thread again."""
        try:
            performing.perform(job)
        finally:
            self._claims.remove(job)
            try:
                release_connection()
            finally:
                self._changed.set()

    # ---- Presence ----

    def _report_presence(self) -> None:
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
        """Waits for running jobs, SHUTDOWN_GRACE at most, gives the rest back, and removes this worker's row.

        Handlers that can go on later are told to stop (`Claimed.ending`). Where the database is away, the leases of
        the jobs run out by themselves.
        """
        self._claims.end()
        end = time.monotonic() + settings.SHUTDOWN_GRACE
        while len(self._claims) and time.monotonic() < end:
            self._changed.clear()
            self._changed.wait(min(0.1, max(0.0, end - time.monotonic())))
        heartbeat.unregister("worker")
        heartbeat.unregister("job leases")
        heartbeat.unregister("job schedule")
        try:
            with waiting.at_most(LEAVE_SECONDS):
                for job in self._claims.all():
                    queue.give_back(job)
                Worker.objects.filter(id=self.id).delete()
        except DatabaseError:
            logger.exception("the worker could not give its jobs back; their leases will run out")
        release_connection()


class JobRunner(LeaseHolder):
    """Claims what is due, and runs up to `concurrency` jobs, each on a thread of its own; most wait for something."""

    def __init__(self, concurrency: int) -> None:
        super().__init__(concurrency)
        self._threads = ThreadPool(concurrency, name="job")

    def run(self, on_started: Callable[[], object]) -> None:
        """Works until it is stopped. Then waits for running jobs, SHUTDOWN_GRACE at most, and gives the rest back."""
        if not self._arrive():
            return
        on_started()
        self._beat()
        waking.start(self._changed.set)
        try:
            while not self._stopping:
                self._changed.clear()
                if pause := self._take():
                    self._changed.wait(pause)
        finally:
            self._leave()

    def _take(self) -> float:
        """Begins due jobs while threads are free. Returns the seconds to sleep before the next look, unless woken."""
        free = self._concurrency - len(self._claims)
        if free <= 0:
            return LOOK_SECONDS  # nothing can begin before a job ends, and that wakes this thread
        try:
            with waiting.at_most(settings.DATABASE_TIMEOUT):
                room = self._room()
                due = queue.next_due(room)
                wait = LOOK_SECONDS if due is None else (due - database_now()).total_seconds()
                if wait > 0:
                    return min(LOOK_SECONDS, wait)
                claimed = queue.claim(self.id, free, room=room)
        except Exception:
            # If the database is away, it comes back. Until then there is nothing to do.
            logger.exception("jobs cannot be claimed for now")
            return LOOK_SECONDS
        finally:
            release_connection()
        for job in claimed:
            self._claims.add(job)
            self._threads.submit(partial(self._do, job))
        return 0.0 if claimed else OUTRUN_SECONDS


def run(concurrency: int, *, on_started: Callable[[], object], heed_interrupt: bool = True) -> None:
    """Runs the worker of this process until SIGTERM or SIGINT. A second signal ends it at once.

    Without `heed_interrupt` it ignores SIGINT: Ctrl-C reaches all processes of a terminal, and another one acts on it.
    """
    telemetry.begin("worker")
    service.begin(settings.DATABASE_TIMEOUT * JOBS_PATIENCE)
    startup.refuse_what_lacks()
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

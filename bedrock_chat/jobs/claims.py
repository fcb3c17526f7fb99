"""The claims of one worker: which jobs it runs, and that their leases are renewed."""

import threading

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed


class Claims:
    """The jobs that a process runs under the id of one worker. Threads add and remove them."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._running: set[Claimed] = set()

    def __len__(self) -> int:
        return len(self._running)

    def add(self, job: Claimed) -> None:
        """Adds a claim. An older one of the same row, whose lease ran out here, is lost."""
        with self._lock:
            for older in self._running:
                if older.pk == job.pk:
                    older.lose()
            self._running.add(job)

    def remove(self, job: Claimed) -> None:
        with self._lock:
            self._running.discard(job)

    def all(self) -> list[Claimed]:
        with self._lock:
            return list(self._running)

    def renew(self) -> None:
        """Extends the leases of all of them, in one statement. Only the heartbeat calls this."""
        queue.renew(self.worker, self.all())

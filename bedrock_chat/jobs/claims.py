"""The claims of one worker: which jobs it runs, and that their leases are renewed."""

import threading
from collections import Counter
from collections.abc import Mapping

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed


class Claims:
    """The jobs that a process runs under the id of one worker. Threads add and remove them."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._running: set[Claimed] = set()
        self._is_ending = False

    def __len__(self) -> int:
        return len(self._running)

    def add(self, job: Claimed) -> None:
        """Adds a claim. An older one of the same row, whose lease ran out here, is lost."""
        with self._lock:
            for older in self._running:
                if older.pk == job.pk:
                    older.lose()
            self._running.add(job)
            is_ending = self._is_ending
        if is_ending:
            job.ending.request()

    def remove(self, job: Claimed) -> None:
        with self._lock:
            self._running.discard(job)

    def all(self) -> list[Claimed]:
        with self._lock:
            return list(self._running)

    def room(self, bounds: Mapping[str, int]) -> dict[str, int]:
        """How many more jobs of each bounded kind may begin. `bounds` has how many may run at a time."""
        running = Counter(job.kind for job in self.all())
        return {kind: max(0, bound - running[kind]) for kind, bound in bounds.items()}

    def end(self) -> None:
        """Tells the handlers of all of them, and of those that are added later, that the worker ends."""
        with self._lock:
            self._is_ending = True
        for job in self.all():
            job.ending.request()

    def renew(self) -> None:
        """Extends the leases of all of them, in one statement. Only the heartbeat calls this."""
        queue.renew(self.worker, self.all())

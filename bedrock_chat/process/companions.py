"""Processes beside the one of `manage.py run`. One that ends before its time is begun anew, and the log says so."""

import logging
import subprocess
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0
"""At least so long after it was begun a process is begun again: one that cannot work does not take the machine."""


class Companion:
    """A process with a name for the log. `begin` starts it; it must not outlive this one, however this one ends."""

    def __init__(self, name: str, begin: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        self._name = name
        self._begin = begin
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._process = begin()
        threading.Thread(target=self._keep, name=f"companion-{name}", daemon=True).start()

    def end(self) -> None:
        """Tells the process to end. It is not begun again."""
        with self._lock:
            self._over.set()
            self._process.terminate()

    def _keep(self) -> None:
        while not self._over.is_set():
            begun_at = time.monotonic()
            status = self._process.wait()
            if self._over.wait(max(0.0, begun_at + PAUSE_SECONDS - time.monotonic())):
                return
            logger.warning("the %s has ended with status %d; it is begun anew", self._name, status)
            self._begin_anew()

    def _begin_anew(self) -> None:
        with self._lock:
            if not self._over.is_set():
                try:
                    self._process = self._begin()
                except Exception:  # such as a port that somebody else has taken meanwhile
                    logger.exception("the %s could not be begun anew, and will be tried again", self._name)

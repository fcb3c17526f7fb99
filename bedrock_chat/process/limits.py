"""What the system allows a process, and whose end ends it."""

import logging
import os
import resource
import signal
import threading
import time

from django.conf import settings

logger = logging.getLogger(__name__)

PARENT_WATCH_SECONDS = 0.2


def raise_descriptor_limit(needed: int) -> None:
    """Ask the system for so many file descriptors, and say so when it gives fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    enough = hard == resource.RLIM_INFINITY or hard >= needed
    for limits in [(needed, hard)] if enough else [(needed, needed), (hard, hard)]:  # root may lift the hard limit too
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (ValueError, OSError):
            continue
        break
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed < needed:
        logger.warning(
            "THREADS=%d may need %d open files and the system allows %d: raise `ulimit -n` or lower THREADS.",
            settings.THREADS,
            needed,
            allowed,
        )


def end_with_parent() -> None:
    """From now on this process gets SIGTERM when the one that started it is gone, however that one went.

    PR_SET_PDEATHSIG would tell at once, but of the thread that forked, which may end long before its process.
    """
    threading.Thread(target=_watch, args=(os.getppid(),), name="parent watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)

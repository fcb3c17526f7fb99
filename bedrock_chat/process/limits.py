"""How many files this process may open, and its end together with its parent process."""

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
    """Ask the system for `needed` file descriptors, and log a warning if it allows fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    hard_is_enough = hard == resource.RLIM_INFINITY or hard >= needed
    # Root may raise the hard limit, too.
    for limits in [(needed, hard)] if hard_is_enough else [(needed, needed), (hard, hard)]:
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
    """From now on this process gets SIGTERM once the process that started it is gone, for whatever reason.

    PR_SET_PDEATHSIG would signal at once, but at the end of the thread that forked, which may end long before its
    process.
    """
    threading.Thread(target=_watch, args=(os.getppid(),), name="parent watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)

"""How many files this process may open, and its end together with its parent process."""

import os
import resource
import signal
import threading
import time

PARENT_WATCH_SECONDS = 0.2


def raise_descriptor_limit(needed: int) -> int:
    """Ask the system for `needed` file descriptors. Returns how many it allows, perhaps fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return needed
    if soft >= needed:
        return soft
    hard_is_enough = hard == resource.RLIM_INFINITY or hard >= needed
    # Root may raise the hard limit, too.
    for limits in [(needed, hard)] if hard_is_enough else [(needed, needed), (hard, hard)]:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (ValueError, OSError):
            continue
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


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

"""Whether this process is on its way out. Apart from the server, so that a view can ask without importing it."""

import threading

_begun = threading.Event()


def draining() -> bool:
    """True once the process was told to end: `/ready` says so, and nothing long should begin."""
    return _begun.is_set()


def begin() -> None:
    """Mark the process as leaving; there is no way back."""
    _begun.set()

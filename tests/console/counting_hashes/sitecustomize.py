"""Python reads this when it starts with this folder on its PYTHONPATH.

Whenever a hash of a password begins, the file HASHES_LOG gets a line: how many run now.
"""

import hashlib
import os
import threading
from typing import Any

_pbkdf2_hmac = hashlib.pbkdf2_hmac
_lock = threading.Lock()
_running = 0


def _counted(*args: Any, **options: Any) -> bytes:
    global _running  # noqa: PLW0603  one count per process
    with _lock:
        _running += 1
        with open(os.environ["HASHES_LOG"], "a") as log:
            log.write(f"{_running}\n")
    try:
        return _pbkdf2_hmac(*args, **options)
    finally:
        with _lock:
            _running -= 1


hashlib.pbkdf2_hmac = _counted  # type: ignore[assignment]

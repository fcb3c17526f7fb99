"""The last fault of each model's calls, for operators: noted in memory, and written by the heartbeat.

A call that fails writes nothing for it. What a killed process had not written yet is lost.
"""

from datetime import datetime
from threading import Lock
from typing import Final

from django.utils import timezone

from bedrock_chat.bedrock.overrides.models import LastFault

EVERY_SECONDS: Final = 5.0

_lock = Lock()
_waiting: dict[str, tuple[str, datetime]] = {}


def note(model_key: str, code: str) -> None:
    """A call to the model failed. At most one fault waits for each model of the catalogue."""
    with _lock:
        _waiting[model_key] = (code[:64], timezone.now())


def write() -> None:
    """Writes what was noted. What fails is kept for the next time, unless there is something newer."""
    with _lock:
        faults = dict(_waiting)
        _waiting.clear()
    if not faults:
        return
    try:
        rows = [LastFault(key=key, code=code, at=at) for key, (code, at) in sorted(faults.items())]
        LastFault.objects.bulk_create(rows, update_conflicts=True, unique_fields=["key"], update_fields=["code", "at"])
    except BaseException:
        with _lock:
            for key, fault in faults.items():
                _waiting.setdefault(key, fault)
        raise


def forget() -> None:
    """For tests: nothing has been noted."""
    with _lock:
        _waiting.clear()

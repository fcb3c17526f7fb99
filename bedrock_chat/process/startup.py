"""What a server makes before its first request, so that no request has to wait for it. Apps register it."""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

_steps: dict[str, Callable[[], object]] = {}


def register(name: str, step: Callable[[], object]) -> None:
    """Have `step` called once, before a server of this process says that it is ready."""
    _steps[name] = step


def prepare() -> None:
    """Calls every step. One that fails is logged, and tried again by whoever needs it: everything else still works."""
    for name, step in _steps.items():
        try:
            step()
        except Exception as error:  # noqa: BLE001  an AWS profile that is not there, for one
            logger.error("%s cannot be made: %s", name, error)  # noqa: TRY400  the message says it all

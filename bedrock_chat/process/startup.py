"""Steps that a server runs before its first request, so that no request waits for them. Apps register them."""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

_steps: dict[str, Callable[[], object]] = {}


def register(name: str, step: Callable[[], object]) -> None:
    """Have `step` called once, before a server of this process says that it is ready."""
    _steps[name] = step


def prepare() -> None:
    """Runs every step. One that fails is logged; the code that needs it tries again, and all other code works."""
    for name, step in _steps.items():
        try:
            step()
        except Exception as error:  # noqa: BLE001  for example an AWS profile that does not exist
            logger.error("%s cannot be made: %s", name, error)  # noqa: TRY400  the message says it all

"""Steps that a server runs before its first request, so that no request waits for them. Apps register them.

And what a server or a worker cannot start without.
"""

import logging
from collections.abc import Callable
from functools import partial

from django.core.exceptions import ImproperlyConfigured

from bedrock_chat.database import waiting
from bedrock_chat.database.connections import release_connection
from bedrock_chat.resilience.dependencies import Check

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0

_steps: dict[str, Callable[[], object]] = {}
_requirements: dict[str, Callable[[], str | None]] = {}


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


def require(name: str, lack: Callable[[], str | None]) -> None:
    """Have servers and workers start only where `lack` finds nothing; else it returns what is wrong, as a sentence."""
    _requirements[name] = lack


def refuse_what_lacks() -> None:
    """Raises ImproperlyConfigured, with the sentence of the first requirement that is not met.

    Where nobody can tell, since the database is away or has no tables yet, the start goes on.
    """
    checks = [Check(name, partial(_ask, lack), patience=PATIENCE_SECONDS) for name, lack in _requirements.items()]
    for check in checks:
        check.begin()
    for check in checks:
        _, sentence = check.ask()
        if sentence is not None:
            raise ImproperlyConfigured(sentence)


def _ask(lack: Callable[[], str | None]) -> str | None:
    """On a thread of its own, which keeps no connection."""
    try:
        with waiting.at_most(waiting.PROBE_SECONDS):
            return lack()
    finally:
        release_connection(final=True)

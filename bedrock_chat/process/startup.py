"""Steps that a server runs before its first request, so that no request waits for them. Apps register them.

And what a server or a worker cannot start without.
"""

import logging
from collections.abc import Callable

from django.core.exceptions import ImproperlyConfigured

from bedrock_chat.database import waiting
from bedrock_chat.database.connections import release_connection
from bedrock_chat.encryption import keys
from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.resilience.dependencies import Check

logger = logging.getLogger(__name__)

KEYS_PATIENCE_SECONDS = 3.0

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


def require_encryption_keys() -> None:
    """Raises ImproperlyConfigured where this process lacks a key that stored secrets need.

    Where the database is away, or has no tables yet, nobody can tell. Then the start goes on, and `/ready` asks again.
    """
    check = Check("encryption keys", _missing_keys, patience=KEYS_PATIENCE_SECONDS)
    check.begin()
    _, sentence = check.ask()
    if sentence is not None:
        raise ImproperlyConfigured(sentence)


def _missing_keys() -> str | None:
    """On a thread of its own: what is wrong with the keys, in one sentence."""
    try:
        with waiting.at_most(waiting.PROBE_SECONDS):
            keys.require_for_stored_secrets_once()
    except EncryptionError as error:
        return str(error)
    finally:
        release_connection(final=True)
    return None

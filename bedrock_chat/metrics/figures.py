"""What the database tells at a scrape: depths and ages of queues, what runs. Apps register who reads which figures.

The figures are those of the whole database, whichever process is asked. A scrape waits for them PATIENCE_SECONDS at
most; without them it tells everything else.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from django.db.migrations.recorder import MigrationRecorder

from bedrock_chat.database import waiting
from bedrock_chat.database.connections import release_connection
from bedrock_chat.metrics.instruments import Figure, Readings
from bedrock_chat.resilience.dependencies import Check, State

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 1.5

Figures = Mapping[Figure, Readings]
Read = Callable[[], Figures]

DATABASE_UP = Figure("bedrock_chat_database_up", "1 if the database answers this process, else 0.")

_readers: dict[str, Read] = {}


def register(name: str, read: Read) -> None:
    """Has `read` called at each scrape. It may take one or two statements, whose cost does not grow with the tables."""
    _readers[name] = read


def _ask() -> None:
    try:
        with waiting.at_most(waiting.PROBE_SECONDS):
            MigrationRecorder.Migration.objects.exists()  # a table that is there before all others
    finally:
        release_connection(final=True)  # it is asked on a thread of its own


def _read_all() -> dict[Figure, Readings]:
    """What each reader tells. Where one fails, its figures are missing."""
    read: dict[Figure, Readings] = {}
    try:
        for name, reader in _readers.items():
            try:
                with waiting.at_most(waiting.PROBE_SECONDS):
                    read.update(reader())
            except Exception as error:  # noqa: BLE001  whatever it is, the other figures are told
                logger.warning("The figures of %s cannot be read: %s", name, type(error).__name__)
    finally:
        release_connection(final=True)
    return read


_database = Check("metrics: database", _ask, patience=PATIENCE_SECONDS)
_figures = Check("metrics: figures", _read_all, patience=PATIENCE_SECONDS)


def read() -> dict[Figure, Readings]:
    """All figures that could be read in time, and whether the database is there."""
    if waiting.database.is_away:
        return {DATABASE_UP: {(): 0.0}}
    _database.begin()
    _figures.begin()
    state, _ = _database.ask()
    _, readings = _figures.ask()
    return {DATABASE_UP: {(): float(state is State.OK)}, **(readings or {})}

"""The backends of PostgreSQL: the processes that serve the connections to one database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.bench.processes import cpu_seconds

_PIDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class Backends:
    """The backends of a database. Their CPU can be read if they run on this machine."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        (own,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        self.reason = _reason(own)
        """Why their CPU cannot be read. Empty if it can."""

    def cpu(self) -> dict[int, float]:
        """The CPU seconds of each backend so far, by process id. Empty if it cannot be read."""
        if self.reason:
            return {}
        return {pid: cpu_seconds(pid) for (pid,) in self._connection.execute(_PIDS)}


def spent(before: dict[int, float], after: dict[int, float]) -> float | None:
    """CPU seconds between two readings. None if there are no readings. What a backend spent that has ended since the
    first one is not counted.
    """
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items()) if after else None


@contextmanager
def backends(url: str) -> Iterator[Backends]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield Backends(connection)


def _reason(pid: int) -> str:
    """A server in another machine or container has process ids that mean something else here, or nothing."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        cpu_seconds(pid)
    except OSError as error:
        return f"the CPU of PostgreSQL's backends cannot be read: {error}"
    return "" if name == "postgres" else "PostgreSQL does not run on this machine"

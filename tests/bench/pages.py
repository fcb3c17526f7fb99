"""The pages that a turn writes to SQLite's write-ahead log."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from tests.bench.subjects import Subject

LOG_HEADER = 32  # bytes; https://sqlite.org/fileformat2.html#walformat
FRAME_HEADER = 24


def measure(subject: Subject, turns: int) -> dict[str, Any]:
    """Counts the frames that so many turns add to the log, at 16 connections. Whatever else the server writes meanwhile
    counts too.

    A reader that stays keeps every checkpoint from starting the log anew, so it only grows.
    """
    log = Path(f"{subject.sqlite_file}-wal")
    with contextlib.closing(sqlite3.connect(subject.sqlite_file, timeout=20, isolation_level=None)) as connection:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        before = _frames(log, page_size)
        subject.sample(16, turns, lambda c, n: subject.ask(c, f"pages-{n}"))
        frames = _frames(log, page_size) - before
    return {
        "turns": turns,
        "pageBytes": page_size,
        "walPagesPerTurn": round(frames / turns, 1),
        "walKiBPerTurn": round(frames * page_size / turns / 1024, 1),
    }


def _frames(log: Path, page_size: int) -> int:
    """A frame is a page with a header."""
    return max(0, log.stat().st_size - LOG_HEADER) // (page_size + FRAME_HEADER)

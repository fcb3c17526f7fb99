"""Which files have tests with a marker, told from their text: pytest imports 340 files to find out, in each worker."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
WORDS = {"both": re.compile(r"\bboth\b"), "slow": re.compile(r"\b(slow|MARKS)\b")}
"""What a file has somewhere whose tests carry a marker. MARKS are those of `tests.console.conftest`."""
NEAR_THE_DATABASE = (
    *("audit", "database", "encryption", "jobs", "ledger/budgets", "search"),
    *("blobs/test_removal.py", "ledger/test_one_truth.py", "ledger/test_recording.py", "store/test_search_table.py"),
    *(
        f"conversations/test_{name}.py"
        for name in (
            *("budgets", "capacity", "closing", "crash", "indexing", "indexing_and_deleting", "leases", "lists"),
            *("queries", "races", "rebuild_search", "search", "search_table", "turns"),
        )
    ),
)
"""Folders and files whose tests `make test` runs on PostgreSQL, too. It has six minutes for all, so the turn of the
others is `make test-slow`.
"""


def files_with(*markers: str) -> list[str]:
    """The files that may have tests with all of these markers, as arguments of pytest."""
    texts = {path: path.read_text() for path in sorted(TESTS.rglob("test_*.py"))}
    return [
        str(path.relative_to(TESTS.parent))
        for path, text in texts.items()
        if all(WORDS[marker].search(text) for marker in markers)
    ]


def is_near_the_database(file: str) -> bool:
    """Whether a file of `files_with` is one of these, or lies in one of these folders."""
    return any((TESTS.parent / file).is_relative_to(TESTS / place) for place in NEAR_THE_DATABASE)


def check(items: Iterable[pytest.Item]) -> None:
    """Raises UsageError where a test carries a marker that its file does not name, so that no run leaves it out."""
    marked = {(item.path, marker) for item in items for marker in WORDS if item.get_closest_marker(marker)}
    for path, marker in sorted(marked):
        if not WORDS[marker].search(path.read_text()):
            raise pytest.UsageError(f"{path} does not name the marker {marker!r} that its tests carry.")

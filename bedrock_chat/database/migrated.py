"""Whether the database has the tables of this version."""

import threading

from django.db import connection
from django.db.migrations.executor import MigrationExecutor


class NotMigrated(Exception):
    """Migrations of this version have not been applied: `manage.py migrate`."""


_found_migrated = threading.Event()


def require_migrations() -> None:
    """Raises NotMigrated. Once it has not, the database is not asked again: migrations are not taken back."""
    if _found_migrated.is_set():
        return
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise NotMigrated(f"not migrated: {len(missing)} migrations of this version are missing")
    _found_migrated.set()

"""Emptying the tables after a test that commits: those alone that have rows.

Django truncates every table and then makes all content types and permissions anew, which on PostgreSQL takes longer
than most tests. What migrations wrote stays here.
"""

from functools import lru_cache

from django.apps import apps
from django.db import connection, transaction
from django.test import TransactionTestCase

from bedrock_chat.audit import append_only

KEPT = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
"""Tables that `migrate` fills."""


def empty() -> None:
    """Deletes all rows. Foreign keys are checked at the end of the transaction, so the order does not matter.

    The database refuses to delete entries of the audit, so its guard is lifted where there are some.
    """
    with connection.cursor() as cursor:
        cursor.execute(_look())
        tables = [table for (table,) in cursor.fetchall()]
    is_guarded = append_only.ENTRIES in tables
    if is_guarded:
        append_only.lift()
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"DELETE FROM {table}")
    if is_guarded:
        append_only.guard()


@lru_cache(maxsize=2)
def _look() -> str:
    """The statement that tells which tables have rows."""
    models = apps.get_models(include_auto_created=True)
    tables = sorted({model._meta.db_table for model in models if model._meta.managed} - KEPT)
    return " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in tables)


def replace_flush() -> None:
    """Has Django's tests that commit end with `empty`."""
    TransactionTestCase._fixture_teardown = lambda self: empty()  # type: ignore[method-assign]

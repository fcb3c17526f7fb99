"""The database's own refusal to change the audit: triggers, in SQL that stands here and nowhere else.

An entry is never updated, replaced or truncated away. One is deleted only if it is older than a day and a later entry
says that the audit expires up to its key. So whoever deletes entries leaves one that tells of it, whatever program
they use.

`manage.py migrate` calls `guard` at its end, since SQLite drops a table's triggers silently when a migration remakes
the table. A migration that must change entries calls `lift` first.
"""

from collections.abc import Mapping
from hashlib import sha256

from django.db import connection, transaction

from bedrock_chat.audit.models import AuditEntry

PREFIX = "audit_guard_"
"""How the names of our triggers begin. After it comes what the trigger refuses, and a digest of its SQL."""

REFUSAL = "The audit is append-only."
FLOOR_HOURS = 23
"""Hours that an entry stays in any case. An expiry keeps a day at least; an hour is for clocks."""

ENTRIES = AuditEntry._meta.db_table
# The condition of the index `expiries_of_the_audit`, word by word. The trigger looks into its own table alone: SQLite
# remakes no table that a trigger of another one names.
_EXPIRES = (
    f"EXISTS (SELECT 1 FROM {ENTRIES} WHERE target_kind = 'audit' AND verb = 'expire' AND id > OLD.id "  # noqa: S608
    "AND {end} >= OLD.id)"
)

_SQLITE_REFUSES = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
_SQLITE_GOES = (
    f"OLD.at < strftime('%Y-%m-%d %H:%M:%S', 'now', '-{FLOOR_HOURS} hours') "
    f"AND {_EXPIRES.format(end='CAST(target_id AS INTEGER)')}"
)
_SQLITE = {
    "update": f"BEFORE UPDATE ON {ENTRIES} {_SQLITE_REFUSES}",
    "delete": f"BEFORE DELETE ON {ENTRIES} WHEN NOT ({_SQLITE_GOES}) {_SQLITE_REFUSES}",
    # INSERT OR REPLACE deletes the row that is in its way without a trigger of DELETE.
    "replace": f"BEFORE INSERT ON {ENTRIES} WHEN EXISTS (SELECT 1 FROM {ENTRIES} WHERE id = NEW.id) {_SQLITE_REFUSES}",  # noqa: S608
}

_NUMBER = "CASE WHEN target_id ~ '^[0-9]{1,18}$' THEN target_id::bigint ELSE 0 END"
_GOES = f"OLD.at < now() - interval '{FLOOR_HOURS} hours' AND {_EXPIRES.format(end=_NUMBER)}"
_RAISE = f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation'"
_FUNCTIONS = [  # PostgreSQL allows no query in a trigger's WHEN
    f"CREATE OR REPLACE FUNCTION {PREFIX}refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_RAISE}; END $$",
    f"CREATE OR REPLACE FUNCTION {PREFIX}delete() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN IF NOT ({_GOES}) THEN {_RAISE}; END IF; RETURN OLD; END $$",
]
_POSTGRESQL = {
    "update": f"BEFORE UPDATE ON {ENTRIES} FOR EACH ROW EXECUTE FUNCTION {PREFIX}refuse()",
    "delete": f"BEFORE DELETE ON {ENTRIES} FOR EACH ROW EXECUTE FUNCTION {PREFIX}delete()",
    "truncate": f"BEFORE TRUNCATE ON {ENTRIES} FOR EACH STATEMENT EXECUTE FUNCTION {PREFIX}refuse()",
}


def guard() -> None:
    """Makes the triggers that are missing, and removes those of another version. Without the table it does nothing."""
    with transaction.atomic(), connection.cursor() as cursor:
        if not is_there():
            return
        wanted, enabled = _wanted(), _enabled()
        if enabled == set(wanted):
            return
        if connection.vendor == "postgresql":
            for function in _FUNCTIONS:
                cursor.execute(function)
        for name in sorted({*enabled, *wanted} - (enabled & set(wanted))):
            cursor.execute(_drop(name))  # also one that is there and disabled
        for name in sorted(set(wanted) - enabled):
            cursor.execute(f"CREATE TRIGGER {name} {wanted[name]}")


def lift() -> None:
    """Removes the triggers, for a migration that has to change entries. `guard` brings them back."""
    with transaction.atomic(), connection.cursor() as cursor:
        for name in _enabled():
            cursor.execute(_drop(name))


def is_there() -> bool:
    """Whether the database has the table of entries, which a migration makes."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [ENTRIES])
        else:
            cursor.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = %s)", [ENTRIES])
        return bool(cursor.fetchone()[0])


def missing() -> list[str]:
    """What the database does not refuse although it should: `update`, `delete`, …"""
    return sorted(name.removeprefix(PREFIX).rpartition("_")[0] for name in set(_wanted()) - _enabled())


def _wanted() -> Mapping[str, str]:
    """Name → SQL after the name. The name changes with what the trigger does."""
    is_postgresql = connection.vendor == "postgresql"
    definitions, functions = (_POSTGRESQL, _FUNCTIONS) if is_postgresql else (_SQLITE, [])
    return {
        f"{PREFIX}{refused}_{sha256(repr((sql, functions)).encode()).hexdigest()[:8]}": sql
        for refused, sql in definitions.items()
    }


def _enabled() -> set[str]:
    """The names of our triggers that are there and work."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE relname = %s "
                "AND pg_table_is_visible(tgrelid) AND starts_with(tgname::text, %s) AND tgenabled IN ('O', 'A')",
                [ENTRIES, PREFIX],
            )
        else:
            cursor.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s AND substr(name, 1, %s) = %s",
                [ENTRIES, len(PREFIX), PREFIX],
            )
        return {name for (name,) in cursor.fetchall()}


def _drop(name: str) -> str:
    """PostgreSQL's triggers belong to tables, SQLite's do not."""
    on_table = f" ON {ENTRIES}" if connection.vendor == "postgresql" else ""
    return f"DROP TRIGGER IF EXISTS {name}{on_table}"

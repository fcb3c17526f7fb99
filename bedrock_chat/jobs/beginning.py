"""Which jobs may begin, in SQL: the same on both databases but for locks, arrays and JSON.

Every kind is looked up by itself, on an index that begins with it. So thousands of jobs of a kind that has no room are
not read by who looks for others.
"""

from functools import lru_cache

from django.db import connection

from bedrock_chat.jobs.models import Job

_FALLS_DUE = "NOT state = 'dead' AND (place IS NULL OR state = 'running')"
_STANDS_IN_LINE = "state = 'ready' AND place IS NOT NULL"


@lru_cache(maxsize=2)
def claim_sql(vendor: str) -> str:
    """Claims the jobs that come first. `rooms` is JSON: kind → how many of it; `lines` the same of kinds that may have
    a line. `limit`: of all kinds together.

    PostgreSQL skips rows that another worker is claiming; SQLite has only one writer.
    """
    table = connection.ops.quote_name(Job._meta.db_table)
    falls_due = _firsts(vendor, "rooms", "NULL", f"{_FALLS_DUE} AND due_at <= %(now)s ORDER BY due_at")
    in_line = _firsts(vendor, "lines", "job.place", f"{_STANDS_IN_LINE} ORDER BY place, due_at")
    chosen = (
        "SELECT id FROM (SELECT id, due_at, room, row_number() OVER (PARTITION BY kind "  # noqa: S608
        f"ORDER BY place NULLS FIRST, due_at, id) AS number FROM ({falls_due} UNION ALL {in_line}) firsts) numbered "
        "WHERE number <= room ORDER BY due_at LIMIT %(limit)s"
    )
    return _claiming(table, chosen, is_postgresql=vendor == "postgresql")


def _firsts(vendor: str, rooms: str, place: str, rule: str) -> str:
    """The first jobs of each kind by a rule, which has an order: so many as there is room for, or `limit`."""
    table = connection.ops.quote_name(Job._meta.db_table)
    if vendor == "postgresql":
        room = "rooms.value::int"
        place = f"{place}::bigint"
        jobs = f"SELECT id, due_at, place FROM {table} WHERE kind = rooms.key AND {rule} LIMIT {room}"  # noqa: S608
        source = f"jsonb_each_text(%({rooms})s::jsonb) rooms CROSS JOIN LATERAL ({jobs} FOR UPDATE SKIP LOCKED) job"
    else:  # it has no LATERAL
        room = "rooms.value"
        jobs = f"SELECT id FROM {table} WHERE kind = rooms.key AND {rule} LIMIT %(limit)s"  # noqa: S608
        source = f"json_each(%({rooms})s) rooms JOIN {table} job ON job.id IN ({jobs})"
    return f"SELECT rooms.key AS kind, {room} AS room, job.id, job.due_at, {place} AS place FROM {source}"  # noqa: S608


@lru_cache(maxsize=2)
def claim_one_sql(vendor: str) -> str:
    """Claims the job `pk`, if it is due, of one of the `kinds`, and does not stand in line."""
    table = connection.ops.quote_name(Job._meta.db_table)
    is_postgresql = vendor == "postgresql"
    of_kinds = "= ANY(%(kinds)s)" if is_postgresql else "IN (SELECT value FROM json_each(%(kinds)s))"
    chosen = (
        f"SELECT id FROM {table} WHERE id = %(pk)s AND kind {of_kinds} "  # noqa: S608
        f"AND due_at <= %(now)s AND {_FALLS_DUE}{' FOR UPDATE SKIP LOCKED' if is_postgresql else ''}"
    )
    return _claiming(table, chosen, is_postgresql=is_postgresql)


def _claiming(table: str, chosen: str, *, is_postgresql: bool) -> str:
    # With an array PostgreSQL runs the limited subquery once, whatever its plan.
    condition = f"= ANY(ARRAY({chosen}))" if is_postgresql else f"IN ({chosen})"
    return (
        f"UPDATE {table} SET state = 'running', worker = %(worker)s, attempt = attempt + 1, due_at = %(until)s "  # noqa: S608
        f"WHERE id {condition} RETURNING id, kind, payload, key, attempt, place"
    )


@lru_cache(maxsize=2)
def next_due_sql(vendor: str) -> str:
    """When the first job of these `kinds` falls due, or its lease ends; one of `lines` that stands in line is due."""
    falls_due = _first_due(vendor, "kinds", f"{_FALLS_DUE} ORDER BY due_at")
    in_line = _first_due(vendor, "lines", f"{_STANDS_IN_LINE} ORDER BY place, due_at")
    return f"SELECT 0 AS id, MIN(due_at) AS due_at FROM ({falls_due} UNION ALL {in_line}) firsts"  # noqa: S608


def _first_due(vendor: str, kinds: str, rule: str) -> str:
    """When the first job of each kind by a rule is due, which has an order."""
    table = connection.ops.quote_name(Job._meta.db_table)
    source = f"unnest(%({kinds})s::text[])" if vendor == "postgresql" else f"json_each(%({kinds})s)"
    alias = "kinds(value)" if vendor == "postgresql" else "kinds"
    first = f"SELECT due_at FROM {table} WHERE kind = kinds.value AND {rule} LIMIT 1"  # noqa: S608
    return f"SELECT ({first}) AS due_at FROM {source} {alias}"  # noqa: S608

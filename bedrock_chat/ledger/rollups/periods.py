"""Days and months, made from quarter hours and days by the database: one statement for each sum.

Sums are whole numbers, which both databases add exactly.
"""

from datetime import date
from functools import lru_cache
from typing import Any, Final

from django.db import connection

from bedrock_chat.ledger.rollups.models import (
    MEASURES,
    TOGETHER,
    DayLatency,
    DayUsage,
    Dimension,
    DimensionUsage,
    Grain,
    GroupMember,
    Latency,
    QuarterUsage,
    Timed,
)
from bedrock_chat.ledger.zones import days, month_after

COLUMN_OF: Final = {
    Dimension.USER: "payer_id",
    Dimension.BOT: "bot_id",
    Dimension.KEY: "key_id",
    Dimension.MODEL: "model",
}
"""A dimension → its column in the sums of all together. Groups are in sets, which `GroupMember` knows."""


def make_day(day: date) -> None:
    """Makes the sums of a day anew from its quarter hours, in the caller's transaction."""
    span = days(day, day)
    DayUsage.objects.filter(day=day).delete()
    _run(_TOGETHER_OF_DAY, day, span.start, span.end)
    DimensionUsage.objects.filter(dimension__in=list(Dimension), grain=Grain.DAY, day=day).delete()
    for dimension in COLUMN_OF:
        _run(dimension, day, day)
    _run(_GROUPS_OF_DAY, day, day)
    DayLatency.objects.filter(timed__in=list(Timed), day=day).delete()
    _run(_LATENCIES_OF_DAY, day, span.start, span.end)


def make_month(month: date) -> None:
    """Makes the sums of a month anew from its days, in the caller's transaction."""
    for dimension in Dimension:
        DimensionUsage.objects.filter(dimension=dimension, grain=Grain.MONTH, day=month).delete()
        _run(_MONTH, month, dimension, month, month_after(month))


_TOGETHER_OF_DAY: Final = "together"
_GROUPS_OF_DAY: Final = "groups"
_LATENCIES_OF_DAY: Final = "latencies"
_MONTH: Final = "month"


def _run(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_statements(connection.vendor)[statement], list(map(_adapted, values)))


def _adapted(value: Any) -> Any:
    """A value as the database takes it."""
    ops = connection.ops
    if hasattr(value, "hour"):
        return ops.adapt_datetimefield_value(value)
    return ops.adapt_datefield_value(value) if isinstance(value, date) else str(value)


@lru_cache(maxsize=2)
def _statements(vendor: str) -> dict[str, str]:
    quote = connection.ops.quote_name
    tables = {
        "quarters": QuarterUsage,
        "by_day": DayUsage,
        "by_dimension": DimensionUsage,
        "members": GroupMember,
        "latencies": Latency,
        "latencies_by_day": DayLatency,
    }
    names = {
        **{name: quote(model._meta.db_table) for name, model in tables.items()},
        "measures": ", ".join(MEASURES),
        "sums": ", ".join(f"SUM({name})" for name in MEASURES),
        "together": ", ".join(TOGETHER),
    }
    by_dimension = {
        dimension.value: _DIMENSION.format(**names, dimension=dimension.value, column=column)
        for dimension, column in COLUMN_OF.items()
    }
    wholes = {_TOGETHER_OF_DAY: _DAY, _GROUPS_OF_DAY: _GROUPS, _LATENCIES_OF_DAY: _LATENCIES, _MONTH: _MONTHS}
    return {**by_dimension, **{name: text.format(**names) for name, text in wholes.items()}}


_DAY: Final = """
INSERT INTO {by_day} (day, {together}, {measures})
SELECT %s, {together}, {sums} FROM {quarters}
WHERE start >= %s AND start < %s
GROUP BY {together} ORDER BY {together}
"""
_DIMENSION: Final = """
INSERT INTO {by_dimension} (grain, dimension, day, value, fault, {measures})
SELECT 'day', '{dimension}', %s, {column}, fault, {sums} FROM {by_day}
WHERE day = %s AND {column} <> ''
GROUP BY {column}, fault ORDER BY {column}, fault
"""
_GROUPS: Final = """
INSERT INTO {by_dimension} (grain, dimension, day, value, fault, {measures})
SELECT 'day', 'group', %s, members.name, fault, {sums} FROM {by_day} AS sums
JOIN {members} AS members ON members.group_set = sums.group_set
WHERE day = %s
GROUP BY members.name, fault ORDER BY members.name, fault
"""
_LATENCIES: Final = """
INSERT INTO {latencies_by_day} (day, model, purpose, timed, bucket, calls)
SELECT %s, model, purpose, timed, bucket, SUM(calls) FROM {latencies}
WHERE start >= %s AND start < %s
GROUP BY model, purpose, timed, bucket ORDER BY timed, model, purpose, bucket
"""
_MONTHS: Final = """
INSERT INTO {by_dimension} (grain, dimension, day, value, fault, {measures})
SELECT 'month', dimension, %s, value, fault, {sums} FROM {by_dimension}
WHERE dimension = %s AND grain = 'day' AND day >= %s AND day < %s
GROUP BY dimension, value, fault ORDER BY dimension, value, fault
"""

"""Days, thirds of months, and months, made from what is smaller by the database: one statement for each kind of sum.

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
    DimensionFault,
    DimensionUsage,
    Grain,
    GroupMember,
    Latency,
    QuarterUsage,
    Timed,
)
from bedrock_chat.ledger.zones import days, month_after, month_of, third_after, third_of

COLUMN_OF: Final = {
    Dimension.USER: "payer_id",
    Dimension.BOT: "bot_id",
    Dimension.KEY: "key_id",
    Dimension.MODEL: "model",
}
"""A dimension → its column in the sums of all together. Groups are in sets, which `GroupMember` knows."""


def value_of(dimension: Dimension) -> tuple[str, str]:
    """What a dimension's value is in rows of `sums`, which have all dimensions together, and the join it takes."""
    if dimension != Dimension.GROUP:
        return f"sums.{COLUMN_OF[dimension]}", ""
    return "members.name", f"JOIN {GroupMember._meta.db_table} AS members ON members.group_set = sums.group_set"


def make_day(day: date) -> None:
    """Makes the sums of a day anew from its quarter hours, in the caller's transaction."""
    span = days(day, day)
    DayUsage.objects.filter(day=day).delete()
    _run(_TOGETHER_OF_DAY, day, span.start, span.end)
    DayLatency.objects.filter(timed__in=list(Timed), day=day).delete()
    _run(_LATENCIES_OF_DAY, day, span.start, span.end)
    for sums in (DimensionUsage, DimensionFault):
        sums.objects.filter(dimension__in=list(Dimension), grain=Grain.DAY, day=day).delete()
    for dimension in Dimension:
        _run(dimension, day, day)
        _run(_FAULTS + dimension, day, day)


def make_month(first: date, last: date, until: date) -> None:
    """Makes the sums of a month anew, of its days before `until`, in the caller's transaction.

    Only days from `first` to `last` have changed, so other thirds of the month stay as they are.
    """
    third = third_of(first)
    while third <= last:
        after = third_after(third)
        _sum_up(Grain.THIRD, third, of=Grain.DAY, until=min(after, until))
        third = after
    month = month_of(first)
    _sum_up(Grain.MONTH, month, of=Grain.THIRD, until=min(month_after(month), until))


def _sum_up(grain: Grain, first: date, *, of: Grain, until: date) -> None:
    for sums, statement in ((DimensionUsage, _WHOLE), (DimensionFault, _FAULTS + _WHOLE)):
        for dimension in Dimension:
            sums.objects.filter(dimension=dimension, grain=grain, day=first).delete()
            _run(statement, grain, first, dimension, of, first, until)


_TOGETHER_OF_DAY: Final = "together"
_LATENCIES_OF_DAY: Final = "latencies"
_WHOLE: Final = "whole"
_FAULTS: Final = "faults:"


def _run(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_statements(connection.vendor)[statement], list(map(adapted, values)))


def adapted(value: Any) -> Any:
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
        "faults": DimensionFault,
        "latencies": Latency,
        "latencies_by_day": DayLatency,
    }
    names = {
        **{name: quote(model._meta.db_table) for name, model in tables.items()},
        "measures": ", ".join(MEASURES),
        "sums": ", ".join(f"SUM({name})" for name in MEASURES),
        "together": ", ".join(TOGETHER),
    }
    wholes = {
        _TOGETHER_OF_DAY: _DAY,
        _LATENCIES_OF_DAY: _LATENCIES,
        _WHOLE: _WHOLES,
        _FAULTS + _WHOLE: _WHOLES_OF_FAULTS,
    }
    statements = {name: text.format(**names) for name, text in wholes.items()}
    for dimension in Dimension:
        value, join = value_of(dimension)
        for prefix, text in (("", _DIMENSION), (_FAULTS, _FAULTS_OF_DIMENSION)):
            statements[prefix + dimension] = text.format(**names, dimension=dimension.value, value=value, join=join)
    return statements


_DAY: Final = """
INSERT INTO {by_day} (day, {together}, {measures})
SELECT %s, {together}, {sums} FROM {quarters}
WHERE start >= %s AND start < %s
GROUP BY {together} ORDER BY {together}
"""
_DIMENSION: Final = """
INSERT INTO {by_dimension} (grain, dimension, day, value, {measures})
SELECT 'day', '{dimension}', %s, {value}, {sums} FROM {by_day} AS sums {join}
WHERE day = %s AND {value} <> ''
GROUP BY {value} ORDER BY {value}
"""
_FAULTS_OF_DIMENSION: Final = """
INSERT INTO {faults} (grain, dimension, day, value, fault, calls)
SELECT 'day', '{dimension}', %s, {value}, fault, SUM(calls) FROM {by_day} AS sums {join}
WHERE day = %s AND {value} <> '' AND fault <> ''
GROUP BY {value}, fault ORDER BY {value}, fault
"""
_LATENCIES: Final = """
INSERT INTO {latencies_by_day} (day, model, purpose, timed, bucket, calls)
SELECT %s, model, purpose, timed, bucket, SUM(calls) FROM {latencies}
WHERE start >= %s AND start < %s
GROUP BY model, purpose, timed, bucket ORDER BY timed, model, purpose, bucket
"""
_WHOLES: Final = """
INSERT INTO {by_dimension} (grain, dimension, day, value, {measures})
SELECT %s, dimension, %s, value, {sums} FROM {by_dimension}
WHERE dimension = %s AND grain = %s AND day >= %s AND day < %s
GROUP BY dimension, value ORDER BY dimension, value
"""
_WHOLES_OF_FAULTS: Final = """
INSERT INTO {faults} (grain, dimension, day, value, fault, calls)
SELECT %s, dimension, %s, value, fault, SUM(calls) FROM {faults}
WHERE dimension = %s AND grain = %s AND day >= %s AND day < %s
GROUP BY dimension, value, fault ORDER BY dimension, value, fault
"""

"""Adding up the pieces of a span by the database: one statement for the sums, and one for the faults.

Each value comes to us once, however many pieces there are. All rows are added up together: to add up each piece first
makes as many groups as there are pieces and values, which cost more than they save.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from django.db import connection

from bedrock_chat.database.connections import run_in_one_process
from bedrock_chat.ledger.rollups.models import MEASURES, Dimension, DimensionFault, DimensionUsage, QuarterUsage
from bedrock_chat.ledger.rollups.periods import adapted, value_of
from bedrock_chat.ledger.rollups.pieces import Days, Piece

_TOTALS: Final = ", ".join(f"CAST(SUM({name}) AS bigint)" for name in MEASURES)
"""As integers: PostgreSQL's sum of them is a decimal, which takes several times as long to read."""
_SUMS: Final = f"SELECT value, {_TOTALS} FROM ({{rows}}) AS pieces GROUP BY value HAVING SUM(calls) <> 0"  # noqa: S608
_FAULTS: Final = """
SELECT value, fault, CAST(SUM(calls) AS bigint) FROM ({rows}) AS pieces GROUP BY value, fault HAVING SUM(calls) <> 0
"""
_OF_DAYS: Final = """
SELECT value, {columns} FROM {table} WHERE dimension = %s AND grain = %s AND day >= %s AND day < %s {rest}
"""
_OF_QUARTERS: Final = """
SELECT {value} AS value, {columns} FROM {table} AS sums {join}
WHERE start >= %s AND start < %s AND {value} <> '' {rest}
"""


def add_up(
    pieces: Sequence[Piece], *, by: Dimension, values: Collection[str] | None = None
) -> Iterable[tuple[Any, ...]]:
    """Value and measures, in the order of MEASURES; of some values alone, if they are named."""
    return _read(_SUMS, pieces, by, values, columns=MEASURES, of_days=DimensionUsage._meta.db_table)


def count_faults(
    pieces: Sequence[Piece], *, by: Dimension, values: Collection[str] | None = None
) -> Iterable[tuple[Any, ...]]:
    """Value, fault and calls; of some values alone, if they are named."""
    return _read(
        _FAULTS, pieces, by, values, columns=("calls",), of_days=DimensionFault._meta.db_table, fault="fault, "
    )


def _read(
    statement: str,
    pieces: Sequence[Piece],
    by: Dimension,
    values: Collection[str] | None,
    *,
    columns: Sequence[str],
    of_days: str,
    fault: str = "",
) -> list[tuple[Any, ...]]:
    """Runs a statement over the rows of all pieces: their value, their `fault` if one is asked for, and the columns."""
    if values is not None and not values:
        return []
    expression, join = value_of(by)
    rows: list[str] = []
    parameters: list[Any] = []
    for piece in pieces:
        signed = (f"-{name} AS {name}" if piece.sign < 0 else name for name in columns)
        parts = {"columns": fault + ", ".join(signed), "rest": ""}
        if values is not None:
            column = "value" if isinstance(piece, Days) else expression
            parts["rest"] = f"AND {column} IN ({', '.join(['%s'] * len(values))})"
        if isinstance(piece, Days):
            rows.append(_OF_DAYS.format(**parts, table=of_days))
            parameters += [by.value, piece.grain.value, adapted(piece.first), adapted(piece.end)]
        else:
            parts["rest"] += " AND fault <> ''" if fault else ""
            table = QuarterUsage._meta.db_table
            rows.append(_OF_QUARTERS.format(**parts, value=expression, table=table, join=join))
            parameters += [adapted(piece.start), adapted(piece.end)]
        parameters += values or ()
    with run_in_one_process(), connection.cursor() as cursor:
        cursor.execute(statement.format(rows=" UNION ALL ".join(rows)), parameters)
        return list(cursor.fetchall())

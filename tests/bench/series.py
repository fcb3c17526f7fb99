"""SQL that makes many rows of numbers: much faster than rows that Python makes."""

from datetime import datetime, timedelta

from django.db import connection

_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(i) AS (SELECT {low} UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < {high}) ",
    "postgresql": "WITH numbers(i) AS (SELECT generate_series({low}::bigint, {high} - 1)) ",
}
_MOMENT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', {seconds}, 'unixepoch')",
    "postgresql": "to_timestamp({seconds})",
}
_QUARTER = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S', CAST({seconds} / 900 AS INTEGER) * 900, 'unixepoch')",
    "postgresql": "to_timestamp(FLOOR({seconds} / 900) * 900)",
}


def numbers(low: int, high: int) -> str:
    """How a statement begins that selects from `numbers`, whose `i` goes from one to the other, without the last."""
    return _NUMBERS[connection.vendor].format(low=low, high=high)


def moment(until: datetime, span: timedelta, rows: int, *, of_quarter: bool = False) -> str:
    """A time that ascends with `i` through a span. `of_quarter`: the begin of its quarter hour."""
    seconds = f"({(until - span).timestamp()} + i * {span.total_seconds() / rows})"
    return (_QUARTER if of_quarter else _MOMENT)[connection.vendor].format(seconds=seconds)

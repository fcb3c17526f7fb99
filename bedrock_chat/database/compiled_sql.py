"""Plain statements on one table, for the hot path of a turn: composed once, then only executed.

Django composes SQL anew for every query, which costs more than SQLite takes to run it: a turn's statements took 2.2 ms
of CPU through querysets and take 0.8 this way (measured in one process, SQLite). Columns, names and conversions are the
models' own, so a migration changes nothing here. A sync's statements for each page are the other hot path: composing
them was a quarter of what a page cost its worker. Use querysets everywhere else.

The functions run a statement each. A `Batch` runs several: on PostgreSQL in one round trip.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import MappingProxyType, TracebackType
from typing import Any, Generic, Self, TypeVar

import orjson
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.utils import timezone

from bedrock_chat.database import composing
from bedrock_chat.database.composing import Converters, Parameters, Slot
from bedrock_chat.database.instances import loaded_row

Row = TypeVar("Row", bound=models.Model)
Result = TypeVar("Result")
Rows = list[tuple[Any, ...]]
NOTHING: Mapping[str, int] = MappingProxyType({})


class Clock(Enum):
    """Stands for a time that is written: that of the clock that all processes share, when the statement runs."""

    NOW = "now"


NOW = Clock.NOW


class Statement(Generic[Result]):
    """A statement of a batch. `result` may be read when the batch has run."""

    __slots__ = ("_read", "result", "sql", "values")
    result: Result

    def __init__(self, sql: str, values: Sequence[Any], read: Callable[[Rows, int], Result]) -> None:
        self.sql = sql
        self.values = values
        self._read = read

    def finish(self, rows: Rows, count: int) -> None:
        self.result = self._read(rows, count)


class Selected(Statement[Row | None]):
    """A statement that gets one row of `model`: the one that equals `where`."""

    __slots__ = ("model", "where")

    def __init__(
        self,
        sql: str,
        values: Sequence[Any],
        read: Callable[[Rows, int], Row | None],
        model: type[Row],
        where: Mapping[str, Any],
    ) -> None:
        super().__init__(sql, values, read)
        self.model, self.where = model, where


class Batch:
    """Statements none of which needs another's result: `with Batch() as batch`, then read the results after the block.

    On PostgreSQL the block's end sends them together and waits once. The server runs them in their order. If one fails,
    those after it are not run, and its error is raised. On SQLite, which is no network away, each runs at once.
    """

    def __init__(self) -> None:
        self._waiting: list[Statement[Any]] = []
        self._connection: Any = connections[DEFAULT_DB_ALIAS]  # looked up once: Django's proxy does it for each access
        self._pipelines = getattr(self._connection, "pipelines", False)

    @property
    def vendor(self) -> str:
        """Of the database: `sqlite` or `postgresql`."""
        return str(self._connection.vendor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and self._waiting:
            outcomes = self._connection.execute_together(
                [(statement.sql, statement.values) for statement in self._waiting]
            )
            for statement, (rows, count) in zip(self._waiting, outcomes, strict=True):
                statement.finish(rows, count)

    def _add(self, statement: Statement[Any]) -> None:
        if self._pipelines:
            self._waiting.append(statement)
            return
        statement.finish(*self._connection.execute_directly(statement.sql, statement.values))

    def insert(self, row: models.Model) -> None:
        """As the function."""
        self.insert_unless_taken(row)

    def insert_unless_taken(self, row: models.Model, unique: tuple[str, ...] = (), **values: Any) -> Statement[bool]:
        """As the function. `values` are written in place of the row's own, which keep what they are."""
        model: type[models.Model] = type(row)
        clocks, values = _clocks(values, self._connection.vendor)
        sql, parameters = composing.insert(self._connection.vendor, model, unique, clocks)
        own = row.__dict__
        written = [values[name] if name in values else own[name] for name, _, _ in parameters]

        def read(rows: Rows, _: int) -> bool:
            if rows:
                row.pk = rows[0][0]
            return bool(rows)

        statement = Statement(sql, self._prepared(parameters, written), read)
        if self._connection.vendor == "sqlite":
            statement.finish(*self._connection.insert(model._meta.db_table, sql, statement.values))
        else:
            self._add(statement)
        return statement

    def upsert(
        self,
        row: models.Model,
        unique: tuple[str, ...],
        *,
        replaced: tuple[str, ...],
        plus: tuple[str, ...] = (),
        plus_if_later: tuple[str, str] | None = None,
    ) -> None:
        """Inserts a row, whose key stays unknown, or writes these columns of the one that has the same `unique` ones.

        That row gets the values of `replaced`, and those of `plus` added to its own. `plus_if_later` names a column and
        one that says when: if the new row is the later one, the column is added and the other one replaced.
        """
        sql, parameters = composing.upsert(self._connection.vendor, type(row), unique, replaced, plus, plus_if_later)
        own = row.__dict__
        values = self._prepared(parameters, [own[name] for name, _, _ in parameters])
        self._add(Statement(sql, values, lambda rows, _: None))

    def queryset(
        self, build: Callable[..., "models.QuerySet[Any, Any]"], shape: tuple[Any, ...], values: Mapping[str, str]
    ) -> Statement[Rows]:
        """The rows of `build(*shape)`, a queryset with `values_list`, composed once for each shape.

        `build` puts a Slot wherever a text comes from `values`.
        """
        sql, parameters, converters = composing.queryset(self._connection.vendor, build, shape)
        filled = [values[value] if isinstance(value, Slot) else value for value in parameters]
        statement = Statement(sql, filled, self._reading(converters))
        self._add(statement)
        return statement

    def rows(self, sql: str, values: Sequence[Any]) -> Statement[Rows]:
        """The rows that a statement of the caller's own words returns, with `%s` for each value."""
        statement = Statement(sql, values, lambda rows, _: rows)
        self._add(statement)
        return statement

    def update(
        self, model: type[models.Model], where: Mapping[str, Any], plus: Mapping[str, int] = NOTHING, /, **values: Any
    ) -> Statement[int]:
        """As the function."""
        sql, prepared, _ = self._updating(model, where, plus, (), values)
        statement = Statement(sql, prepared, lambda _, count: count)
        self._add(statement)
        return statement

    def update_and_select(
        self,
        model: type[models.Model],
        columns: tuple[str, ...],
        where: Mapping[str, Any],
        plus: Mapping[str, int] = NOTHING,
        /,
        **values: Any,
    ) -> Statement[Rows]:
        """As `update`. The result is these columns of the updated rows."""
        sql, prepared, converters = self._updating(model, where, plus, columns, values)
        statement = Statement(sql, prepared, self._reading(converters))
        self._add(statement)
        return statement

    def _updating(
        self,
        model: type[models.Model],
        where: Mapping[str, Any],
        plus: Mapping[str, int],
        columns: tuple[str, ...],
        values: dict[str, Any],
    ) -> tuple[str, list[Any], Converters]:
        names = tuple(values)
        clocks, values = _clocks(values, self._connection.vendor)
        sql, parameters, converters = composing.update(
            self._connection.vendor, model, tuple(where), tuple(plus), names, clocks, columns
        )
        return sql, self._prepared(parameters, [*plus.values(), *values.values(), *where.values()]), converters

    def select(
        self, model: type[models.Model], columns: tuple[str, ...], where: Mapping[str, Any], *, lock: bool = False
    ) -> Statement[Rows]:
        """As the function."""
        sql, parameters, converters = composing.select(self._connection.vendor, model, columns, tuple(where), lock)
        statement = Statement(sql, self._prepared(parameters, where.values()), self._reading(converters))
        self._add(statement)
        return statement

    def get(self, model: type[Row], where: Mapping[str, Any], *, lock: bool = False) -> Selected[Row]:
        """As the function."""
        names = composing.columns(model)
        sql, parameters, converters = composing.select(self._connection.vendor, model, names, tuple(where), lock)

        def read(rows: Rows, _: int) -> "Row | None":  # quoted: to evaluate it takes longer than the function
            if not rows:
                return None
            row = _converted_row(rows[0], converters, self._connection)
            return loaded_row(model, names, row, DEFAULT_DB_ALIAS)

        statement = Selected(sql, self._prepared(parameters, where.values()), read, model, where)
        self._add(statement)
        return statement

    def select_of(
        self, parent: Selected[Any], model: type[models.Model], columns: tuple[str, ...], foreign_key: str
    ) -> Statement[Rows]:
        """The columns of the rows that refer to the row that `parent` gets, ordered by key. Without that row, none."""
        if not self._pipelines:
            if parent.result is not None:
                return self.select(model, columns, {foreign_key: parent.result.pk})
            nothing = Statement("", (), lambda rows, _: rows)
            nothing.finish([], 0)
            return nothing
        of: type[models.Model] = parent.model
        sql, parameters, converters = composing.select_of(
            self._connection.vendor, model, columns, foreign_key, of, tuple(parent.where)
        )
        values = self._prepared(parameters, parent.where.values())
        statement = Statement(sql, values, self._reading(converters))
        self._add(statement)
        return statement

    def documents(self, model: type[models.Model], column: str, keys: Sequence[int]) -> Statement[dict[int, Any]]:
        """As the function, for one key or more."""
        parameter = list(keys) if self._connection.vendor == "postgresql" else orjson.dumps(keys).decode()

        def read(rows: Rows, _: int) -> dict[int, Any]:
            parsed = orjson.loads(f"[{','.join(text for _, text in rows)}]")
            return {key: document for (key, _), document in zip(rows, parsed, strict=True)}

        statement = Statement(composing.documents(self._connection.vendor, model, column), [parameter], read)
        self._add(statement)
        return statement

    def run(self, sql: str, values: Sequence[Any]) -> Statement[Rows]:
        """A statement of the caller's own, with `%s` for each value. The rows are as the database returns them."""
        statement = Statement(sql, values, lambda rows, _: rows)
        self._add(statement)
        return statement

    def now(self) -> Statement[datetime]:
        """The time of the clock that all processes share (`connections.database_now`)."""
        if self._connection.vendor == "postgresql":
            statement = Statement("SELECT clock_timestamp()", (), _first_value)
            self._add(statement)
        else:
            statement = Statement("", (), _first_value)
            statement.result = timezone.now()
        return statement

    def notify(self, channel: str) -> None:
        """Tells those who listen on a channel of PostgreSQL's, once the transaction commits. SQLite has none."""
        if self._connection.vendor == "postgresql":
            self._add(Statement("SELECT pg_notify(%s, '')", [channel], lambda rows, _: None))

    def _reading(self, converters: Converters) -> Callable[[Rows, int], Rows]:
        return lambda rows, _: _converted(rows, converters, self._connection)

    def _prepared(self, parameters: Parameters, values: Iterable[Any]) -> list[Any]:
        """The values as the database takes them. Most are already, and need none of Django's five calls for each."""
        connection = self._connection
        return [
            value if value is None or type(value) is plain else write(value, connection)
            for (_, plain, write), value in zip(parameters, values, strict=True)
        ]


def insert(row: models.Model) -> None:
    """Inserts a new row and sets its primary key. Raises IntegrityError."""
    insert_unless_taken(row)


def insert_unless_taken(row: models.Model, unique: tuple[str, ...] = ()) -> bool:
    """Inserts a new row and sets its primary key. Returns False if another row has the same values in `unique`.

    `unique` names the columns of one unique constraint. Raises IntegrityError for every other constraint.
    """
    with Batch() as batch:
        inserted = batch.insert_unless_taken(row, unique)
    return inserted.result


def update(
    model: type[models.Model], where: Mapping[str, Any], plus: Mapping[str, int] = NOTHING, /, **values: Any
) -> int:
    """Sets fields of the rows whose columns equal `where`, and adds to those in `plus`, where NULL counts as zero.

    Returns the number of rows.
    """
    with Batch() as batch:
        count = batch.update(model, where, plus, **values)
    return count.result


def select(
    model: type[models.Model], columns: tuple[str, ...], where: Mapping[str, Any], *, lock: bool = False
) -> Rows:
    """The columns of the rows that equal `where`, ordered by key. `lock` locks them until the transaction ends."""
    with Batch() as batch:
        rows = batch.select(model, columns, where, lock=lock)
    return rows.result


def get(model: type[Row], where: Mapping[str, Any], *, lock: bool = False) -> Row | None:
    """The first row that equals `where`, or None."""
    with Batch() as batch:
        row = batch.get(model, where, lock=lock)
    return row.result


def documents(model: type[models.Model], column: str, keys: Sequence[int]) -> dict[int, Any]:
    """Key → JSON column, of the rows with these keys.

    The keys are one parameter, however many, and the documents are parsed in one go: two thousand bodies take 4 ms of
    CPU, where a queryset's `in` takes 25.
    """
    if not keys:
        return {}
    with Batch() as batch:
        by_key = batch.documents(model, column, keys)
    return by_key.result


def _first_value(rows: Rows, _: int) -> Any:
    return rows[0][0]


def _clocks(values: dict[str, Any], vendor: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of those values that the database's clock gives, and all others. SQLite has no such clock."""
    clocks = tuple(name for name, value in values.items() if value is NOW)
    if not clocks:
        return clocks, values
    if vendor != "postgresql":
        now = timezone.now()
        return (), {name: now if value is NOW else value for name, value in values.items()}
    return clocks, {name: value for name, value in values.items() if value is not NOW}


def _converted(rows: Rows, converters: Converters, connection: Any) -> Rows:
    return [_converted_row(row, converters, connection) for row in rows] if converters else rows


def _converted_row(row: tuple[Any, ...], converters: Converters, connection: Any) -> tuple[Any, ...]:
    """The row with Python's values. None is None everywhere, so it is left out."""
    values = list(row)
    for index, expression, steps in converters:
        if (value := row[index]) is not None:
            for step in steps:
                value = step(value, expression, connection)
            values[index] = value
    return tuple(values)

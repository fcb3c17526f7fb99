"""SQL of plain statements on one table, composed once for a model and a shape, with `%s` for each value.

`vendor` is part of the caches' keys, since quoting and conversions differ. `clocks` names the columns that get the time
of the database's clock, where it has one.
"""

import json
from collections.abc import Callable
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final

import orjson
from django.db import connection, models
from django.db.models.expressions import Col
from django.db.models.sql import Query

Fields = tuple[Any, ...]  # of a model; Django's Field takes no type arguments when it runs
Writer = Callable[[Any, Any], Any]  # from a value to what a connection's database takes
Parameters = tuple[tuple[str, type | None, Writer], ...]  # of each `%s`: field, type that is taken as it is
Converter = Callable[[Any, Any, Any], Any]
Converters = tuple[tuple[int, Any, tuple[Converter, ...]], ...]  # index of the column, expression, steps
PLAIN = {"CharField": str, "TextField": str, "BooleanField": bool}
PLAIN |= dict.fromkeys(["BigAutoField", "BigIntegerField", "PositiveIntegerField", "PositiveBigIntegerField"], int)
"""The type that values of a field have in Python and in the database alike."""


def _fields(model: type[models.Model], names: tuple[str, ...]) -> Fields:
    by_column = {field.attname: field for field in model._meta.concrete_fields}
    return tuple(model._meta.pk if name == "pk" else by_column[name] for name in names)


def _parameters(vendor: str, fields: Fields) -> Parameters:
    return tuple((field.attname, *_writing(vendor, field)) for field in fields)


def _writing(vendor: str, field: Any) -> tuple[type | None, Writer]:
    """The type of values that Django would not change, None for a field with conversions of its own; and what makes of
    other values what the database takes.
    """
    of = field.target_field if field.is_relation else field
    prepares = (type(of).get_prep_value, type(of).get_db_prep_value, type(of).get_db_prep_save)
    if not all(method.__module__.startswith("django.") for method in prepares):
        return None, field.get_db_prep_save
    kind = of.get_internal_type()
    if kind == "DateTimeField":
        return datetime if vendor == "postgresql" else None, _adapted_time
    if kind == "JSONField" and vendor == "postgresql" and of.encoder is None:
        return None, _json  # SQLite compares texts, so there it must be Django's
    plain = PLAIN.get(kind)
    return plain, _text if plain is str else field.get_db_prep_save


def _text(value: object, connection: Any) -> str:
    """What is no plain text, as Django's field writes it: a member of an enumeration as its value."""
    return str(value)


def _json(value: object, connection: Any) -> str:
    """JSON in one step, past Django's field, psycopg's wrapper and the standard library's encoder."""
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # integers over 64 bits, lone surrogates
        return json.dumps(value)


def _adapted_time(value: datetime, connection: Any) -> Any:
    """A time as Django's field writes it, without the field's checks for what is no aware time."""
    return connection.ops.adapt_datetimefield_value(value)


def _quoted(fields: Fields) -> list[str]:
    return [connection.ops.quote_name(field.column) for field in fields]


def _mark(field: Any, clocks: tuple[str, ...]) -> str:
    """What stands for the value of a field in a statement."""
    return "clock_timestamp()" if field.attname in clocks else "%s"


@cache
def columns(model: type[models.Model]) -> tuple[str, ...]:
    """The names of all columns, as `from_db` takes them."""
    return tuple(field.attname for field in model._meta.concrete_fields)


@lru_cache(maxsize=64)
def insert(
    vendor: str, model: type[models.Model], unique: tuple[str, ...], clocks: tuple[str, ...]
) -> tuple[str, Parameters]:
    """On SQLite its first two values are what `KeyReserve.offer` returns. Without them SQLite chooses the key."""
    fields = tuple(field for field in model._meta.concrete_fields if not field.primary_key)
    table, key = connection.ops.quote_name(model._meta.db_table), _quoted(_fields(model, ("pk",)))[0]
    columns, marks = _quoted(fields), [_mark(field, clocks) for field in fields]
    if vendor == "sqlite":
        columns.insert(0, key)
        marks.insert(0, f"(SELECT %s FROM sqlite_sequence WHERE name = '{model._meta.db_table}' AND seq = %s)")  # noqa: S608
    on_conflict = f" ON CONFLICT {_target(model, unique)} DO NOTHING" if unique else ""
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(marks)}){on_conflict} RETURNING {key}"  # noqa: S608
    return sql, _parameters(vendor, tuple(field for field in fields if field.attname not in clocks))


@lru_cache(maxsize=8)
def upsert(
    vendor: str,
    model: type[models.Model],
    unique: tuple[str, ...],
    replaced: tuple[str, ...],
    plus: tuple[str, ...],
    plus_if_later: tuple[str, str] | None,
) -> tuple[str, Parameters]:
    fields = tuple(field for field in model._meta.concrete_fields if not field.primary_key)
    table = connection.ops.quote_name(model._meta.db_table)
    written = [f"{column} = excluded.{column}" for column in _quoted(_fields(model, replaced))]
    added = [f"{column} = {table}.{column} + excluded.{column}" for column in _quoted(_fields(model, plus))]
    if plus_if_later is not None:
        column, day = _quoted(_fields(model, plus_if_later))
        later = f"CASE WHEN excluded.{day} > {table}.{day} THEN"
        added.append(f"{column} = {later} {table}.{column} + excluded.{column} ELSE {table}.{column} END")
        added.append(f"{day} = {later} excluded.{day} ELSE {table}.{day} END")
    sql = f"INSERT INTO {table} ({', '.join(_quoted(fields))}) VALUES ({', '.join('%s' for _ in fields)})"  # noqa: S608
    sql += f" ON CONFLICT {_target(model, unique)} DO UPDATE SET {', '.join([*written, *added])}"
    return sql, _parameters(vendor, fields)


class Slot(str):
    """Stands, in a queryset that is composed once, for a text that each execution brings under this name."""

    __slots__ = ()


@lru_cache(maxsize=64)
def queryset(
    vendor: str, build: Callable[..., "models.QuerySet[Any, Any]"], shape: tuple[Any, ...]
) -> tuple[str, tuple[Any, ...], Converters]:
    """The SQL of `build(*shape)`, a queryset with `values_list`, and its parameters: Slots, and values as they are."""
    query = build(*shape).query
    compiler = query.get_compiler(connection=connection)
    sql, parameters = compiler.as_sql()
    selected = [column for column, _, _ in compiler.select]
    converters = tuple(
        (index, expression, tuple(map(_quick, steps)))
        for index, (steps, expression) in compiler.get_converters(selected).items()
    )
    return sql, parameters, converters


def _target(model: type[models.Model], unique: tuple[str, ...]) -> str:
    """The unique constraint over these columns, as ON CONFLICT names it: a partial one with its condition."""
    fields = _fields(model, unique)
    names = tuple(field.name for field in fields)
    constraints = [rule for rule in model._meta.constraints if isinstance(rule, models.UniqueConstraint)]
    is_alone = len(fields) == 1 and fields[0].unique
    condition = None if is_alone else next(rule.condition for rule in constraints if tuple(rule.fields) == names)
    target = f"({', '.join(_quoted(fields))})"
    if condition is None:
        return target
    query = Query(model, alias_cols=False)
    sql, _ = query.build_where(condition).as_sql(query.get_compiler(connection=connection), connection)
    return f"{target} WHERE {sql}"


@lru_cache(maxsize=64)
def update(
    vendor: str,
    model: type[models.Model],
    where: tuple[str, ...],
    plus: tuple[str, ...],
    names: tuple[str, ...],
    clocks: tuple[str, ...],
    returned: tuple[str, ...],
) -> tuple[str, Parameters, Converters]:
    plus_fields, set_fields, where_fields = _fields(model, plus), _fields(model, names), _fields(model, where)
    table = connection.ops.quote_name(model._meta.db_table)
    added = [f"{column} = COALESCE({column}, 0) + %s" for column in _quoted(plus_fields)]
    written = zip(_quoted(set_fields), set_fields, strict=True)
    assignments = ", ".join([*added, *(f"{column} = {_mark(field, clocks)}" for column, field in written)])
    conditions = " AND ".join(f"{column} = %s" for column in _quoted(where_fields))
    set_fields = tuple(field for field in set_fields if field.attname not in clocks)
    returned_fields = _fields(model, returned)
    returning = f" RETURNING {', '.join(_quoted(returned_fields))}" if returned else ""
    sql = f"UPDATE {table} SET {assignments} WHERE {conditions}{returning}"  # noqa: S608
    return sql, _parameters(vendor, (*plus_fields, *set_fields, *where_fields)), _converters(model, returned_fields)


@lru_cache(maxsize=64)
def select(
    vendor: str, model: type[models.Model], columns: tuple[str, ...], where: tuple[str, ...], lock: bool
) -> tuple[str, Parameters, Converters]:
    where_fields = _fields(model, where)
    conditions = " AND ".join(f"{column} = %s" for column in _quoted(where_fields))
    ending = " FOR UPDATE" if lock and connection.features.has_select_for_update else ""
    sql, converters = _selecting(model, columns, conditions)
    return sql + ending, _parameters(vendor, where_fields), converters


@lru_cache(maxsize=8)
def select_of(
    vendor: str,
    model: type[models.Model],
    columns: tuple[str, ...],
    foreign_key: str,
    parent: type[models.Model],
    where: tuple[str, ...],
) -> tuple[str, Parameters, Converters]:
    where_fields = _fields(parent, where)
    table, key = connection.ops.quote_name(parent._meta.db_table), _quoted(_fields(parent, ("pk",)))[0]
    conditions = " AND ".join(f"{column} = %s" for column in _quoted(where_fields))
    parents = f"SELECT {key} FROM {table} WHERE {conditions}"  # noqa: S608
    sql, converters = _selecting(model, columns, f"{_quoted(_fields(model, (foreign_key,)))[0]} = ({parents})")
    return sql, _parameters(vendor, where_fields), converters


def _selecting(model: type[models.Model], columns: tuple[str, ...], conditions: str) -> tuple[str, Converters]:
    """A SELECT ordered by key, and what makes Python's values of its columns."""
    fields = _fields(model, columns)
    table, key = connection.ops.quote_name(model._meta.db_table), _quoted(_fields(model, ("pk",)))[0]
    sql = f"SELECT {', '.join(_quoted(fields))} FROM {table} WHERE {conditions} ORDER BY {key}"  # noqa: S608
    return sql, _converters(model, fields)


def _converters(model: type[models.Model], fields: Fields) -> Converters:
    converters = []
    for index, field in enumerate(fields):
        expression = Col(model._meta.db_table, field)
        steps = (*connection.ops.get_db_converters(expression), *field.get_db_converters(connection))
        if steps:
            converters.append((index, expression, tuple(map(_quick, steps))))
    return tuple(converters)


def _quick(step: Converter) -> Converter:
    """The converter, past Python's parser where a JSON column is empty. Most are, and it takes 3 µs to find that."""
    if getattr(step, "__func__", None) is not models.JSONField.from_db_value:
        return step

    def convert(value: Any, expression: Any, connection: Any) -> Any:
        make = _EMPTY.get(value)
        return step(value, expression, connection) if make is None else make()

    return convert


_EMPTY: Final[dict[Any, Callable[[], Any]]] = {"[]": list, "{}": dict}


@lru_cache(maxsize=8)
def documents(vendor: str, model: type[models.Model], column: str) -> str:
    table, (key, document) = connection.ops.quote_name(model._meta.db_table), _quoted(_fields(model, ("pk", column)))
    condition = "= ANY(%s)" if vendor == "postgresql" else "IN (SELECT value FROM json_each(%s))"
    return f"SELECT {key}, {document} FROM {table} WHERE {key} {condition}"  # noqa: S608

"""Several statements in one round trip to PostgreSQL, on libpq itself.

psycopg has a pipeline mode of its own, which talks to the server after each statement: four statements in it took 70 µs
of CPU each, a statement alone 110 and, sent from here, 40. Four together take 12 µs each from here.

Statements are prepared only where the operator asks for it (psycopg's `prepare_threshold`): a pooler between this
process and the server may give each transaction another connection, which does not know what another has prepared.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import abc, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.waiting import Ready, Wait

Statement = tuple[bytes, Sequence[Any]]
"""SQL with `$1`, `$2` and so on, and the values that these stand for."""
Outcome = tuple[list[tuple[Any, ...]], int]
"""The rows that a statement returns, and how many rows it has written or read."""


def is_possible() -> bool:
    """Whether libpq is new enough: 14 or later."""
    return psycopg.capabilities.has_pipeline()


@lru_cache(maxsize=256)
def numbered(sql: str) -> bytes:
    """SQL with `$1`, `$2` and so on in place of each `%s`."""
    first, *others = sql.split("%s")
    return "".join([first, *(f"${number}{text}" for number, text in enumerate(others, 1))]).encode()


def run(connection: psycopg.Connection[Any], statements: Sequence[Statement]) -> list[Outcome]:
    """Runs the statements one after the other on the server, and waits once, for all of them.

    If one fails, the server skips those after it, and its error is raised. Without a transaction around them they are
    one of their own. The bound on every wait holds for all together (`BoundedConnection.wait`).
    """
    with connection.lock:
        pgconn, transformer = connection.pgconn, getattr(connection, "transformer", None) or Transformer(connection)
        dumped = [_dumped(values, transformer) for _, values in statements]
        begins = not connection.autocommit and pgconn.transaction_status == pq.TransactionStatus.IDLE
        names = getattr(connection, "prepared", None) if _may_prepare(connection) else None
        new = {} if names is None else _new_names(names, statements)
        pgconn.enter_pipeline_mode()
        try:
            if begins:
                pgconn.send_query_params(b"BEGIN", None)
            for sql, name in new.items():
                pgconn.send_prepare(name, sql)
            for (sql, _), values in zip(statements, dumped, strict=True):
                if names is None:
                    pgconn.send_query_params(sql, values)
                else:
                    pgconn.send_query_prepared(names.get(sql) or new[sql], values)
            pgconn.pipeline_sync()
            results = connection.wait(_exchange(pgconn))
            pgconn.exit_pipeline_mode()
        except BaseException:
            pgconn.finish()  # answers may still come, and nobody would know which statement they belong to
            raise
        if names is not None:
            preparations = zip(new.items(), results[begins:], strict=False)
            names.update(item for item, result in preparations if result.status == pq.ExecStatus.COMMAND_OK)
        for result in results:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=connection.info.encoding)
        return [_outcome(result, transformer) for result in results[begins + len(new) :]]


def _may_prepare(connection: psycopg.Connection[Any]) -> bool:
    """Whether the operator asks for it. Not where psycopg prepares too (Django's `server_side_binding`): after each
    rollback it has the server forget all prepared statements of the connection, these included.
    """
    return connection.prepare_threshold is not None and issubclass(connection.cursor_factory, psycopg.ClientCursor)


def _new_names(names: Mapping[bytes, bytes], statements: Sequence[Statement]) -> dict[bytes, bytes]:
    """SQL that the connection has not prepared yet, and a name for each."""
    new: dict[bytes, bytes] = {}
    for sql, _ in statements:
        if sql not in names and sql not in new:
            new[sql] = b"batch_%d" % (len(names) + len(new))
    return new


def _dumped(values: Sequence[Any], transformer: abc.Transformer) -> Sequence[Any] | None:
    """The values as text, whose types the server knows from where they stand in the statement. Raises DataError."""
    return transformer.dump_sequence(values, [PyFormat.TEXT] * len(values)) if values else None


def _exchange(pgconn: pq.abc.PGconn) -> abc.PQGen[list[pq.abc.PGresult]]:
    """Sends what is queued, and takes the results, one for each statement. psycopg waits for what this yields."""
    while pgconn.flush():  # the server may have to be heard before it takes more
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    results: list[pq.abc.PGresult] = []
    while True:
        while pgconn.is_busy():
            yield Wait.R
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:  # after each statement's result
            if pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError("the connection is lost")
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        else:
            results.append(result)


def _outcome(result: pq.abc.PGresult, transformer: abc.Transformer) -> Outcome:
    rows: list[tuple[Any, ...]] = []
    if result.nfields:
        transformer.set_pgresult(result)
        rows = transformer.load_rows(0, result.ntuples, tuple)
        transformer.set_pgresult(None)  # it stays with the connection, and the result must not
    return rows, result.command_tuples or 0

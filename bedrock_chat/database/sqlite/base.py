"""The backend's wrapper, which Django loads by the name of this module."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import islice
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

from bedrock_chat.database.query_log import WithoutQueryLog
from bedrock_chat.database.sqlite import readers
from bedrock_chat.database.sqlite.checkpoints import LARGEST_BYTES
from bedrock_chat.database.sqlite.key_reserve import NO_KEY, KeyReserve
from bedrock_chat.database.sqlite.operations import Operations
from bedrock_chat.database.sqlite.writer_queue import WriterQueue

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP", "ALTER", "WITH")
LONGEST_CACHED = 2_000
"""Characters. Longer statements are of one use, since they list values."""

PATIENCE_SECONDS = 20.0
"""How long a thread waits until it may write, unless the settings' `timeout` says otherwise."""

THREADS_CACHE_KB = 256
"""Of a thread's own connection in a service, where SQLite would take 2,000. A commit of any other connection empties
the cache, so what is read twice within a statement is nearly all that it can spare, and a process may have hundreds.
"""

LOST_TRANSACTION = "SQLite has rolled this transaction back: the disk is full or fails."

_is_service = False


def begin_service() -> None:
    """From now on all transactions of this process run on one connection of their own.

    A thread's own connection reads the file anew after every commit of another connection: with a connection for each
    of sixteen threads, a turn read 76 pages. The one that makes all commits keeps what it knows, and its statements
    stay prepared. Servers and workers call this; a migration switches foreign keys off on its thread's connection, so
    its transactions must run there.
    """
    global _is_service  # noqa: PLW0603  a state of the process
    _is_service = True


class Connection(sqlite3.Connection):
    """A connection that knows who may write."""

    queue: WriterQueue

    @contextmanager
    def may_write(self) -> Iterator[None]:
        """Around a write without a transaction: it waits for its turn.

        Raises OperationalError where the thread may write already: it would wait for itself, and nobody could write.
        SQLite rolls a transaction back by itself when the disk is full or fails. The rest must not be stored alone.
        """
        if self.queue.is_mine():
            raise OperationalError(LOST_TRANSACTION)
        with self.queue.turn():
            yield


class Writers:
    """What the threads that write to one database file share."""

    def __init__(self, patience_seconds: float) -> None:
        self.queue = WriterQueue(patience_seconds)
        self.keys = KeyReserve()
        self.connection: Connection | None = None
        """The connection of all transactions, in a service. It belongs to the thread whose turn it is."""

    def discard(self) -> None:
        """Closes the shared connection, with any transaction that is open on it. The next writer opens a new one."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


@lru_cache(maxsize=8)
def writers_of(_database: str, patience_seconds: float) -> Writers:
    return Writers(patience_seconds)


@lru_cache(maxsize=512)
def _with_question_marks(query: str) -> str:
    return base.FORMAT_QMARK_REGEX.sub("?", query).replace("%%", "%")


class Cursor(base.SQLiteCursorWrapper):
    """Django's cursor, which queues before a write that is no part of a transaction."""

    connection: Connection
    _rows: Iterator[tuple[Any, ...]] | None = None
    """What such a write has returned. It has all been fetched, since the write ends only with its last row."""

    def execute(self, query: str, params: Any = None) -> Any:
        if self.connection.in_transaction or not query.startswith(WRITES):
            self._rows = None
            return super().execute(query, params)
        with self.connection.may_write():
            super().execute(query, params)
            self._rows = iter(super().fetchall()) if self.description else None
        return self

    def executemany(self, query: str, param_list: Any) -> Any:
        self._rows = None
        if self.connection.in_transaction:
            return super().executemany(query, param_list)
        with self.connection.may_write():
            return super().executemany(query, param_list)

    def fetchone(self) -> Any:
        return super().fetchone() if self._rows is None else next(self._rows, None)

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        if self._rows is not None:
            return list(islice(self._rows, size))
        rows = super().fetchmany(size)
        if len(rows) == size:
            readers.note(self)
        else:
            readers.forget(self)
        return rows

    def fetchall(self) -> list[Any]:
        return super().fetchall() if self._rows is None else list(self._rows)

    def __next__(self) -> Any:
        return super().__next__() if self._rows is None else next(self._rows)

    def convert_query(self, query: str, *, param_names: list[str] | None = None) -> str:
        if param_names is None and len(query) <= LONGEST_CACHED:
            return _with_question_marks(query)
        converted: str = super().convert_query(query, param_names=param_names)
        return converted


class DatabaseWrapper(WithoutQueryLog, base.DatabaseWrapper):
    """Django's, whose transactions queue for their beginning, and in a service run on the shared connection."""

    ops_class = Operations

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        self._is_writing = False
        self._knows_keys = False
        """Whether the transaction has looked at the keys that are set apart."""
        self._own: Connection | None = None
        """This thread's connection, while a transaction runs on the shared one."""
        self._cursors: list[Cursor] = []
        """Those of such a transaction."""

    @property
    def writers(self) -> Writers:
        options = self.settings_dict["OPTIONS"]
        return writers_of(str(self.settings_dict["NAME"]), options.get("timeout", PATIENCE_SECONDS))

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "factory": Connection}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        connection = self._new_connection(conn_params)
        if _is_service:
            connection.execute(f"PRAGMA cache_size=-{THREADS_CACHE_KB}")
        return connection

    def _new_connection(self, conn_params: dict[str, Any]) -> Connection:
        connection: Connection = super().get_new_connection(conn_params)
        connection.queue = self.writers.queue
        connection.execute(f"PRAGMA journal_size_limit={LARGEST_BYTES}")
        if _is_service:
            connection.execute("PRAGMA wal_autocheckpoint=0")  # a thread does it (`checkpoints`)
        return connection

    def create_cursor(self, name: str | None = None) -> Cursor:
        cursor: Cursor = self.connection.cursor(factory=Cursor)
        if self._own is not None:
            self._cursors.append(cursor)
        return cursor

    def execute_directly(self, sql: str, values: Sequence[Any]) -> tuple[list[tuple[Any, ...]], int]:
        """Runs a statement, and returns its rows and how many it has written. Its marks are Django's, `%s`.

        It goes past Django's cursors, which take as much CPU as SQLite itself: not where somebody looks at them. A
        write without a transaction queues, as theirs do. Raises Django's exceptions.
        """
        if self.connection is None:  # Django's own look at this asks for an event loop first
            self.ensure_connection()
        connection = self.connection
        if self.execute_wrappers or self.force_debug_cursor:
            with self.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else [], cursor.rowcount
        self.validate_no_broken_transaction()
        may_run = connection.in_transaction or not sql.startswith(WRITES)
        with self.wrap_database_errors, nullcontext() if may_run else connection.may_write():
            cursor = connection.execute(_with_question_marks(sql), values)
            return cursor.fetchall(), cursor.rowcount

    def insert(self, table: str, sql: str, values: Sequence[Any]) -> tuple[list[tuple[Any, ...]], int]:
        """Runs an INSERT of `composing.insert`, in a transaction with a key that is set apart. Returns as above."""
        if not self._is_writing:
            return self.execute_directly(sql, (*NO_KEY, *values))
        keys = self.writers.keys
        if not self._knows_keys:
            with self.wrap_database_errors:
                keys.look(self.connection, self.connection.execute("PRAGMA data_version").fetchone()[0])
            self._knows_keys = True
        offer = keys.offer(table)
        rows, count = self.execute_directly(sql, (*offer, *values))
        if rows:
            keys.note(table, offer, rows[0][0], self._raise_highest_key)
        return rows, count

    def _raise_highest_key(self, table: str, key: int) -> None:
        """SQLite chooses higher keys than this one for the next rows of a table, which must have had one."""
        with self.wrap_database_errors:
            self.connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (key, table))

    def _start_transaction_under_autocommit(self) -> None:
        self.writers.queue.acquire()
        self._is_writing = True
        try:
            self._knows_keys = False
            self.writers.keys.roll_back()  # a transaction that ended with its thread or its connection
            if _is_service:
                self._own, self.connection = self.connection, self._shared_connection()
            mode: str | None = self.transaction_mode  # type: ignore[attr-defined]  # the stubs leave it out
            self.execute_directly(f"BEGIN {mode or ''}", ())
        except BaseException:
            self._stop_writing(is_broken=True)
            raise

    def _shared_connection(self) -> Connection:
        """The process's connection for transactions, without one that a thread has left open when it died."""
        writers = self.writers
        with self.wrap_database_errors:
            if writers.connection is None:
                writers.connection = self._new_connection(self.get_connection_params())
                writers.connection.isolation_level = None  # BEGIN and COMMIT are sent by Django
            elif writers.connection.in_transaction:
                writers.connection.rollback()
            return writers.connection

    def _commit(self) -> None:
        """Whatever goes wrong, the next thread may write: Django rolls back after errors of the database alone."""
        try:
            if self._is_writing and not self.connection.in_transaction:
                raise OperationalError(LOST_TRANSACTION)  # COMMIT would do nothing, and seem to have worked
            super()._commit()  # type: ignore[misc]  # the stubs leave it out
            if self._is_writing:
                self.writers.keys.commit()
        finally:
            self._stop_writing()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]  # the stubs leave it out
        finally:
            self._stop_writing()

    def _savepoint_rollback(self, sid: str) -> None:
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # the stubs leave it out
        if self._is_writing:
            self.writers.keys.roll_back()

    def _close(self) -> None:
        self._stop_writing()
        super()._close()  # type: ignore[misc]  # the stubs leave it out

    def _stop_writing(self, *, is_broken: bool = False) -> None:
        """Gives the shared connection back, without a cursor that still reads, and lets the next thread write.

        The next one opens a new connection if this one may be broken, or could not end its transaction.
        """
        if not self._is_writing:
            return
        self._is_writing = False
        cursors, self._cursors = self._cursors, []
        own, self._own = self._own, None
        try:
            if own is not None:
                shared, self.connection = self.connection, own
                is_broken = is_broken or shared.in_transaction
                for cursor in cursors:
                    cursor.close()
            if is_broken:
                self.writers.discard()
        finally:
            self.writers.queue.release()

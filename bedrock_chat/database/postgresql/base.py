"""The backend's wrapper, which Django loads by the name of this module."""

import time
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import psycopg
import psycopg_pool
from django.db.backends.postgresql import base
from django.db.backends.signals import connection_created
from psycopg.adapt import AdaptersMap

from bedrock_chat.database import waiting
from bedrock_chat.database.postgresql import pipeline
from bedrock_chat.database.postgresql.connection import BoundedConnection, NoAnswer, TimeLoader
from bedrock_chat.database.query_log import WithoutQueryLog
from bedrock_chat.resilience.dependencies import Away


class DatabaseWrapper(WithoutQueryLog, base.DatabaseWrapper):
    """Django's, with bounded connections, which asks for none while the database is away."""

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        if pool := self.settings_dict["OPTIONS"].get("pool"):
            pool.setdefault("connection_class", BoundedConnection)

    def get_connection_params(self) -> dict[str, Any]:
        parameters = super().get_connection_params()
        if self.timezone is UTC:
            adapters = AdaptersMap(parameters["context"])
            adapters.register_loader("timestamptz", TimeLoader)
            parameters["context"] = adapters
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            waiting.refuse_while_away()
            return super().get_new_connection(conn_params)
        except Away as error:
            raise NoAnswer(str(error)) from None
        except (psycopg_pool.PoolTimeout, psycopg.errors.ConnectionTimeout) as error:
            waiting.note_silence(error)
            raise

    def connect(self) -> None:
        """Django's. Of a pool's connection nothing is to be found out or set: its pool has done that once. Whoever
        listens for connections, to register a type of PostgreSQL's with each, hears of this one too.
        """
        if self.alias not in self._connection_pools:  # type: ignore[attr-defined]  # the stubs leave it out
            super().connect()
            return
        self.in_atomic_block = self.needs_rollback = self.closed_in_transaction = self.errors_occurred = False
        self.savepoint_ids, self.atomic_blocks, self.run_on_commit = [], [], []
        self.close_at, self.health_check_done = 0.0, True  # it goes back to the pool after whatever it was taken for
        self.connection = self.get_new_connection({})
        self.autocommit = True
        connection_created.send(sender=self.__class__, connection=self)

    @property
    def pipelines(self) -> bool:
        """Whether `execute_together` may be called now. Not where Django's own way of executing is looked after."""
        isolates = "isolation_level" in self.settings_dict["OPTIONS"]  # then BEGIN is not all that begins a transaction
        return pipeline.is_possible() and not self.execute_wrappers and not isolates

    def execute_directly(self, sql: str, values: Sequence[Any]) -> pipeline.Outcome:
        """Runs a statement by Django's own cursor, where `pipelines` is false. Its marks are `%s`."""
        with self.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else [], cursor.rowcount

    def execute_together(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[pipeline.Outcome]:
        """Runs statements in one round trip. Their marks are Django's, `%s`. Raises Django's exceptions."""
        self.validate_thread_sharing()
        self.validate_no_broken_transaction()
        if self.connection is None:  # Django's own look at this asks for an event loop first
            self.ensure_connection()
        # While somebody looks at the queries. DEBUG alone has Django keep them too, for nobody.
        texts = [self.ops.compose_sql(sql, values) for sql, values in statements] if self.force_debug_cursor else []
        started = time.monotonic()
        try:
            with self.wrap_database_errors:
                return pipeline.run(self.connection, [(pipeline.numbered(sql), values) for sql, values in statements])
        finally:
            seconds = time.monotonic() - started  # of all together
            self.queries_log.extend({"sql": text, "time": f"{seconds:.3f}"} for text in texts)

"""The backend's wrapper, which Django loads by the name of this module."""

from typing import Any

import psycopg
import psycopg_pool
from django.db.backends.postgresql import base

from bedrock_chat.database import waiting
from bedrock_chat.database.postgresql.connection import BoundedConnection, NoAnswer
from bedrock_chat.database.query_log import WithoutQueryLog
from bedrock_chat.resilience.dependencies import Away


class DatabaseWrapper(WithoutQueryLog, base.DatabaseWrapper):
    """Django's, with bounded connections, which asks for none while the database is away."""

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        super().__init__(settings_dict, alias)
        if pool := self.settings_dict["OPTIONS"].get("pool"):
            pool.setdefault("connection_class", BoundedConnection)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            waiting.refuse_while_away()
            return super().get_new_connection(conn_params)
        except Away as error:
            raise NoAnswer(str(error)) from None
        except (psycopg_pool.PoolTimeout, psycopg.errors.ConnectionTimeout) as error:
            waiting.note_silence(error)
            raise

"""Django's configuration of the database at an address. Read by the settings, so it uses none."""

from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured


def databases(url: str, *, data_dir: Path, pool_size: int, timeout: float) -> dict[str, dict[str, Any]]:
    """`DATABASES` for `DATABASE_URL`. Raises ImproperlyConfigured for what is no address of SQLite or PostgreSQL."""
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(url))
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL is not a database address: {error}") from None
    match database["ENGINE"]:
        case "django.db.backends.sqlite3":
            return {"default": database | _sqlite(data_dir)}
        case "django.db.backends.postgresql":
            return {"default": database | _postgresql(database.get("OPTIONS", {}), pool_size, timeout)}
    raise ImproperlyConfigured("DATABASE_URL must start with sqlite:// or postgres://.")


def _sqlite(data_dir: Path) -> dict[str, Any]:
    return {
        "ENGINE": "bedrock_chat.database.sqlite",
        "TEST": {"NAME": str(data_dir / "test.sqlite3")},  # with a database in memory, threads would fail
        "CONN_MAX_AGE": None,  # opening a connection costs 1.7 ms per request
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",  # without it, WAL gave thousands of "database is locked"
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;",
        },
    }


def _postgresql(options: dict[str, Any], pool_size: int, timeout: float) -> dict[str, Any]:
    return {
        "ENGINE": "bedrock_chat.database.postgresql",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,  # the heartbeat checks the pool instead, once for all requests
        "OPTIONS": {
            "connect_timeout": 5,
            "keepalives_idle": 30,  # these four find a machine that is gone without a word; the address may differ
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,  # milliseconds
            **options,
            "pool": {
                "min_size": 1,
                "max_size": pool_size,
                "timeout": timeout * 0.8,  # a connection and its first statement: below twice the time-out
                "reconnect_timeout": 2,  # after that the next request tries; else its pauses grow to minutes
            },
        },
    }

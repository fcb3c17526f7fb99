"""PostgreSQL's times are read exactly as Django reads them, in one step."""

from datetime import UTC, datetime

import psycopg
import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import BaseTzLoader
from hypothesis import given
from hypothesis import strategies as st
from psycopg.postgres import types

from bedrock_chat.database.postgresql.connection import TimeLoader

OID = types["timestamptz"].oid


class DjangosLoader(BaseTzLoader):
    timezone = UTC


def sent(moment: datetime) -> bytes:
    """As PostgreSQL writes it: without the zeros behind a fraction."""
    text = moment.replace(tzinfo=None).isoformat(" ")
    return ((text.rstrip("0") if "." in text else text) + "+00").encode()


@given(st.datetimes())
def test_a_time_is_read_as_django_reads_it(moment: datetime) -> None:
    ours = TimeLoader(OID).load(sent(moment))
    assert (ours, ours.tzinfo) == (DjangosLoader(OID).load(sent(moment)), UTC)


@pytest.mark.parametrize("text", [b"infinity", b"-infinity", b"0044-03-15 12:00:00+00 BC"])
def test_a_time_that_python_does_not_know_is_refused_as_django_refuses_it(text: bytes) -> None:
    for loader in (TimeLoader, DjangosLoader):
        with pytest.raises(psycopg.DataError):
            loader(OID).load(text)


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    moment = TimeLoader(OID).load(b"2026-12-01 13:30:00.5+05:30")
    assert (moment, moment.tzinfo) == (datetime(2026, 12, 1, 8, 0, 0, 500_000, UTC), UTC)


@pytest.mark.both
@pytest.mark.django_db
def test_the_database_uses_this_loader() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's times are another matter")
    connection.ensure_connection()
    assert connection.connection.adapters.get_loader(OID, psycopg.pq.Format.TEXT) is TimeLoader
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        assert cursor.fetchone()[0].tzinfo is UTC

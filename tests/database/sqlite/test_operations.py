"""Times are written and read exactly as Django does it, in fewer steps."""

from datetime import UTC, datetime, timedelta, timezone

from django.db import connections
from django.db.backends.sqlite3.operations import DatabaseOperations
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.database.sqlite.base import DatabaseWrapper
from bedrock_chat.database.sqlite.operations import Operations

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-4, minutes=-30))])
FIRST, LAST = map(datetime.fromisoformat, ("0001-01-02", "9999-12-30"))  # further out, other zones have no such times
DATABASE = DatabaseWrapper(connections.create_connection("default").settings_dict | {"TIME_ZONE": None})
TOKYO = DatabaseWrapper(connections.create_connection("default").settings_dict | {"TIME_ZONE": "Asia/Tokyo"})


def test_the_database_uses_these_operations() -> None:
    assert type(DATABASE.ops) is Operations


@given(st.datetimes(FIRST, LAST, timezones=ZONES))
def test_a_time_is_written_as_django_writes_it(moment: datetime) -> None:
    for wrapper in (DATABASE, TOKYO):
        ours, djangos = Operations(wrapper), DatabaseOperations(wrapper)
        assert ours.adapt_datetimefield_value(moment) == djangos.adapt_datetimefield_value(moment)


@given(st.none() | st.datetimes() | st.datetimes().map(str))
def test_a_time_is_read_as_django_reads_it(stored: datetime | str | None) -> None:
    for wrapper in (DATABASE, TOKYO):
        ours, djangos = Operations(wrapper), DatabaseOperations(wrapper)
        moment = ours.convert_datetimefield_value(stored, None, wrapper)
        assert moment == djangos.convert_datetimefield_value(stored, None, wrapper)
        assert moment is None or moment.utcoffset() is not None

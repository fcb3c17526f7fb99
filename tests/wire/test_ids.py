"""Identifiers ascend, and their columns order by code point."""

import hashlib
import os
import threading
import time
import uuid

import pytest
from django.db import connection, models
from django.db.migrations.writer import MigrationWriter
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from bedrock_chat.database.fields import CodePointCharField
from bedrock_chat.wire.ids import derived_id, new_id, new_uuid


def test_ids_are_ulids_of_now_that_ascend_within_a_process() -> None:
    began = time.time()
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    read = [ULID.from_str(text) for text in ids[:10]]
    assert [str(ulid) for ulid in read] == ids[:10]
    # Every id of the same millisecond is the one before plus one, and earlier tests may have made such ids.
    assert all(began - 1 < ulid.timestamp < time.time() + 1 for ulid in read)


@given(st.tuples(st.integers(), st.text()))
def test_a_derived_id_is_the_beginning_of_a_digest_as_a_ulid(parts: tuple[int, str]) -> None:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    assert derived_id(*parts) == str(ULID.from_bytes(digest[:16])) == derived_id(*parts)


def test_ids_made_by_many_threads_at_once_are_unique_and_ascend_in_each() -> None:
    ids_of_threads: list[list[str]] = [[] for _ in range(8)]
    threads = [
        threading.Thread(target=lambda own=own: own.extend(new_id() for _ in range(500))) for own in ids_of_threads
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({text for own in ids_of_threads for text in own}) == 8 * 500
    assert all(own == sorted(own) for own in ids_of_threads)


def test_uuids_are_by_chance() -> None:
    made = [uuid.UUID(new_uuid()) for _ in range(1000)]
    assert len(set(made)) == 1000
    assert {one.version for one in made} == {4}


def test_a_forked_process_makes_other_ids_than_its_parent() -> None:
    new_uuid()  # the parent has bytes left
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, new_uuid().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != new_uuid()
    os.close(reading)
    os.close(writing)


def test_the_field_is_written_into_migrations_without_a_collation() -> None:
    field = CodePointCharField(max_length=26, primary_key=True)
    written, imports = MigrationWriter.serialize(field)
    assert written == "bedrock_chat.database.fields.CodePointCharField(max_length=26, primary_key=True)"
    assert imports == {"import bedrock_chat.database.fields"}


@pytest.mark.both
@pytest.mark.django_db(transaction=True)  # SQLite changes no schema within a transaction
@isolate_apps("store")
def test_ids_order_by_code_point_on_both_databases() -> None:
    class Thing(models.Model):  # noqa: DJ008
        key = CodePointCharField(max_length=8, primary_key=True)

        class Meta:
            app_label = "store"

    class Part(models.Model):  # noqa: DJ008
        thing = models.ForeignKey(Thing, models.CASCADE, db_constraint=False)

        class Meta:
            app_label = "store"

    keys = ["a", "B", "_", "é", "Z", "0", "z", "-", "A", "😀", "～"]
    with connection.schema_editor() as editor:
        editor.create_model(Thing)
        editor.create_model(Part)
    try:
        Thing.objects.bulk_create(Thing(key=key) for key in keys)
        Part.objects.bulk_create(Part(thing_id=key) for key in keys)
        ordered = sorted(keys)
        below_a = ["_", "Z", "B", "A", "0", "-"]
        assert list(Thing.objects.order_by("key").values_list("key", flat=True)) == ordered
        assert list(Thing.objects.filter(key__lt="a").order_by("-key").values_list("key", flat=True)) == below_a
        assert list(Part.objects.order_by("thing_id").values_list("thing_id", flat=True)) == ordered
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Part)
            editor.delete_model(Thing)

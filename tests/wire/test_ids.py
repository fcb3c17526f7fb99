"""Identifiers ascend, and their columns order by code point."""

import threading

import pytest
from django.db import connection, models
from django.db.migrations.writer import MigrationWriter
from django.test.utils import isolate_apps
from ulid import ULID

from bedrock_chat.database.fields import CodePointCharField
from bedrock_chat.wire.ids import new_id


def test_ids_are_ulids_that_ascend_within_a_process() -> None:
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert all(str(ULID.from_str(text)) == text for text in ids[:10])


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

"""A database without the tables of this version is named, and is not ready."""

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from rest_framework.test import APIClient

from bedrock_chat.database import migrated
from tests.serving.conftest import eventually

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def _unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrated._found_migrated, "is_set", lambda: False)


@pytest.mark.usefixtures("_unasked")
def test_readiness_says_that_migrations_are_missing_until_they_are_applied() -> None:
    rows = MigrationRecorder(connection).migration_qs
    last = rows.filter(app="conversations").latest("name")
    rows.filter(pk=last.pk).delete()
    try:
        response = APIClient().get("/ready")
        assert response.status_code == 503
        assert response.json()["database"] == "not migrated"
        assert response.json()["detail"] == "The database has not the tables of this version: run manage.py migrate."
        assert APIClient().get("/health").status_code == 200
    finally:
        last.save(force_insert=True)
    assert eventually(lambda: APIClient().get("/ready").status_code == 200)


@pytest.mark.usefixtures("_unasked")
def test_however_often_it_is_asked_meanwhile_no_connection_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("a file has no pool")

    def require() -> None:
        connection.ensure_connection()
        raise migrated.NotMigrated("not migrated: 1 migration of this version is missing")

    monkeypatch.setattr(migrated, "require_migrations", require)
    for _ in range(connection.pool.max_size + 1):  # type: ignore[attr-defined]  # PostgreSQL's has one
        assert APIClient().get("/ready").json()["database"] == "not migrated"


def test_a_database_that_was_found_migrated_is_not_asked_again(django_assert_num_queries: object) -> None:
    migrated.require_migrations()
    with django_assert_num_queries(0):  # type: ignore[operator]
        migrated.require_migrations()

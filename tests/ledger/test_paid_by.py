"""The calls that somebody pays for: their own and those of their published APIs, each found by an index."""

import pytest
from django.db import connection
from django.db.models import QuerySet

from bedrock_chat.ledger.models import ModelCall, paid_by
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.adding import Sums
from bedrock_chat.ledger.zones import Span
from tests.ledger.calls import NOON, call

pytestmark = [pytest.mark.django_db, pytest.mark.both]

PUBLISHED = {"user_id": None, "publication_id": "p", "key_id": "k"}
INDEXES = ("calls_of_a_user", "published_calls_of_a_payer")


def plan_of(rows: QuerySet[ModelCall]) -> str:
    """How the database reads the rows of a large table."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_indexscan = off")  # the table is empty: any index would do
    return rows.explain()


def test_who_pays_for_calls_pays_for_their_own_and_published_ones() -> None:
    own, published, _, _ = ModelCall.objects.bulk_create(
        [call(), call(**PUBLISHED), call(user_id="bob", payer_id="bob"), call(payer_id="bob", **PUBLISHED)]
    )
    assert set(ModelCall.objects.filter(paid_by("alice"))) == {own, published}


def test_who_pays_is_found_by_indexes() -> None:
    plan = plan_of(ModelCall.objects.filter(paid_by("alice")))
    assert all(index in plan for index in INDEXES), plan


def test_what_somebody_pays_for_in_a_span_is_found_by_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[QuerySet[ModelCall]] = []
    add_up = reading.adding.add_up

    def watched(calls: QuerySet[ModelCall]) -> Sums:
        rows.append(calls)
        return add_up(calls)

    monkeypatch.setattr(reading.adding, "add_up", watched)
    reading.usage_of_payer(Span(NOON, NOON.replace(hour=20)), "alice")
    plan = plan_of(rows[0])
    assert all(index in plan for index in INDEXES), plan

"""Idempotency keys of answers that take long: claimed, kept, freed; and what counts as a key."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.db.models import F

from bedrock_chat.database.connections import database_now
from bedrock_chat.encryption import encrypting
from bedrock_chat.wire.errors import BadRequest, Conflict, Unprocessable
from publication.idempotency import claiming, header, leases
from publication.idempotency.claiming import Keyed, Repeated
from publication.models import IdempotencyKey, Route
from tests.encryption.vault import new_key

pytestmark = [pytest.mark.django_db, pytest.mark.both]


@pytest.fixture
def keyed() -> Keyed:
    return Keyed("01" * 13, "lineage123", Route.CHAT_COMPLETIONS, "d" * 64)


@pytest.mark.parametrize(
    "value", ["", '""', "é", "ключ", "a\tb", "x" * 256, '"' + "x" * 256 + '"', '"a', '"a" b', '"a\\b"', '"a";p=1']
)
def test_a_key_has_1_to_255_printable_characters(value: str) -> None:
    with pytest.raises(BadRequest):
        header.read(value)


def test_a_key_may_be_quoted_as_the_draft_has_it() -> None:
    assert header.read('"8e03978e-40d5"') == header.read("8e03978e-40d5") == header.read(" 8e03978e-40d5 ")
    assert header.read(r'"a \"b\" \\c"') == r'a "b" \c'
    assert header.read(r"a\b") == r"a\b"
    assert header.read('"' + "x" * 255 + '"') == "x" * 255


def test_while_it_is_answered_an_equal_request_is_told_to_wait_and_then_has_the_answer(keyed: Keyed) -> None:
    with claiming.begin(keyed, "p") as claim:
        with pytest.raises(Repeated) as repeated:
            claiming.begin(keyed, "p")
        for earlier in (repeated.value.earlier, claiming.find(keyed)):
            assert earlier is not None
            with pytest.raises(Conflict) as running:
                earlier.replay("p")
            assert running.value.headers["Retry-After"] == "2"
            with pytest.raises(Unprocessable):
                earlier.replay("other")
        claim.finish("the answer")
    earlier = claiming.find(keyed)
    assert earlier is not None
    assert earlier.replay("p") == "the answer"
    with pytest.raises(Unprocessable):
        earlier.replay("other")


def test_what_failed_or_was_left_may_be_sent_again(keyed: Keyed) -> None:
    with pytest.raises(RuntimeError), claiming.begin(keyed, "p"):
        raise RuntimeError
    assert claiming.find(keyed) is None
    with claiming.begin(keyed, "another body"):
        pass
    assert not IdempotencyKey.objects.exists()


def test_a_process_that_died_frees_its_key_and_writes_nothing_afterwards(keyed: Keyed) -> None:
    lost = claiming.begin(keyed, "p")
    IdempotencyKey.objects.update(lease_expires_at=database_now())
    assert claiming.find(keyed) is None
    with claiming.begin(keyed, "p2") as claim:
        lost.finish("late")
        lost.release()
        earlier = claiming.find(keyed)
        assert earlier is not None
        assert earlier.is_running
        claim.finish("second")
    lost.finish("late")
    earlier = claiming.find(keyed)
    assert earlier is not None
    assert earlier.replay("p2") == "second"


def test_a_late_answer_is_kept_while_nobody_has_taken_over(keyed: Keyed) -> None:
    with claiming.begin(keyed, "p") as claim:
        IdempotencyKey.objects.update(lease_expires_at=database_now())
        claim.finish("late")
    earlier = claiming.find(keyed)
    assert earlier is not None
    assert earlier.replay("p") == "late"


def test_the_heartbeat_renews_what_runs_here_and_nothing_else(keyed: Keyed) -> None:
    with claiming.begin(keyed, "p"):
        soon = database_now() + timedelta(seconds=1)
        IdempotencyKey.objects.update(lease_expires_at=soon)
        leases.renew()
        assert IdempotencyKey.objects.get().lease_expires_at > soon + timedelta(seconds=5)
        IdempotencyKey.objects.update(lease_expires_at=soon, attempt=F("attempt") + 1)
        leases.renew()
        assert IdempotencyKey.objects.get().lease_expires_at == soon
    IdempotencyKey.objects.update(lease_expires_at=soon)
    leases.renew()
    assert IdempotencyKey.objects.get().lease_expires_at == soon


def test_a_clock_that_was_set_back_holds_no_key(keyed: Keyed) -> None:
    claiming.begin(keyed, "p")
    IdempotencyKey.objects.update(lease_expires_at=database_now() + timedelta(days=1))
    assert claiming.find(keyed) is None


def test_an_answer_that_is_too_long_is_not_kept_and_not_made_twice(keyed: Keyed) -> None:
    with claiming.begin(keyed, "p") as claim:
        claim.finish("é" * (claiming.LONGEST_ANSWER // 2 + 1))
    assert IdempotencyKey.objects.get().size == 0
    earlier = claiming.find(keyed)
    assert earlier is not None
    with pytest.raises(Conflict) as refused:
        earlier.replay("p")
    assert "Retry-After" not in refused.value.headers


def test_an_answer_is_encrypted_and_rotates_with_the_other_secrets(keyed: Keyed, settings: LazySettings) -> None:
    with claiming.begin(keyed, "p") as claim:
        claim.finish("Rumpelstilzchen")
    token = IdempotencyKey.objects.get().encrypted_answer
    assert "Rumpelstilzchen" not in token
    settings.ENCRYPTION_KEYS = [new_key(), *settings.ENCRYPTION_KEYS]
    call_command("rotate_encryption_key", verbosity=0)
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    row = IdempotencyKey.objects.get()
    assert row.encrypted_answer != token
    assert encrypting.decrypt(row.encrypted_answer) == "Rumpelstilzchen"


def test_the_database_refuses_a_second_row_a_strange_route_and_an_answer_of_what_runs(keyed: Keyed) -> None:
    wrong: list[dict[str, Any]] = [
        {},
        {"digest": "e", "route": "elsewhere"},
        {"digest": "f", "lease_expires_at": database_now(), "encrypted_answer": "x"},
    ]
    claiming.begin(keyed, "p")
    for columns in wrong:
        row = {"publication_id": keyed.publication_id, **keyed.columns, "payload": "p", **columns}
        with pytest.raises(IntegrityError), transaction.atomic():
            IdempotencyKey.objects.create(claimed_at=database_now(), **row)

"""The ledger keeps what was spent: of every round of a turn, and under nobody's name once its user is erased."""

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.ledger.recording import Spent

pytestmark = [pytest.mark.both, pytest.mark.django_db]
ALICE, BOB = Caller(user_id="alice"), Caller(user_id="bob")


def call(actor: Caller = ALICE, turn_id: str | None = None, **columns: Any) -> ModelCall:
    """A call of a turn that was asked of question `q` in conversation `c`."""
    columns = {
        "purpose": Purpose.TURN,
        "conversation_external_id": "c",
        "message_external_id": "q",
        "latency_ms": 1,
        **columns,
    }
    names = {"user_id": actor.user_id, "payer_id": actor.user_id, "turn_id": turn_id}
    return ModelCall.objects.create(created_at=timezone.now(), **names, **columns)


def newest(actor: Caller = ALICE) -> list[int]:
    return [row.pk for row in recording.calls_of_newest_turn(actor, "c", "q")]


def test_the_newest_turn_of_a_question_has_the_calls_of_all_its_rounds() -> None:
    call(turn_id="first")
    rounds = [call(turn_id="second"), call(turn_id="second"), call(turn_id="second")]
    assert newest() == [row.pk for row in rounds]


def test_a_row_of_before_turns_had_ids_is_a_turn_of_its_own() -> None:
    call()
    last = call()
    assert newest() == [last.pk]


def test_calls_of_others_of_titles_and_of_other_questions_are_no_part_of_it() -> None:
    mine = call(turn_id="t")
    call(BOB, turn_id="b")
    call(purpose=Purpose.TITLE)
    call(turn_id="other", message_external_id="q2")
    call(turn_id="other", conversation_external_id="c2")
    assert newest() == [mine.pk]
    assert recording.calls_of_newest_turn(ALICE, "c", "never asked") == []


def test_what_was_spent_is_the_sum_over_the_calls() -> None:
    price = {"price": Decimal("0.0001"), "input_tokens": 5, "output_tokens": 3}
    spent = Spent.of([ModelCall(**price), ModelCall(**price, cache_read_tokens=7, estimated=True)])
    assert spent == Spent(10, 6, 7, 0, Decimal("0.0002"), estimated=True)
    assert Spent.of([]) is None


def test_one_call_without_a_price_leaves_the_sum_without_one() -> None:
    spent = Spent.of([ModelCall(price=Decimal(1)), ModelCall(price=None)])
    assert spent is not None
    assert spent.price is None


def test_late_rows_name_their_user_and_nobody_once_that_one_is_gone() -> None:
    alice = local.local_user("alice")
    for user_id in (alice.pk, "gone"):
        facts = {
            "purpose": Purpose.TITLE,
            "conversation_external_id": "c",
            "latency_ms": 1,
            "created_at": timezone.now(),
        }
        recording.insert_late([ModelCall(user_id=user_id, payer_id=user_id, **facts)])
    kept, nameless = ModelCall.objects.order_by("pk")
    assert (kept.user_id, kept.payer_id) == (alice.pk, alice.pk)
    assert nameless.user_id.startswith("erased:")
    assert nameless.payer_id == nameless.user_id


def test_rows_that_were_committed_after_all_are_not_written_twice() -> None:
    lost_connection = call(turn_id="t")
    never_committed = ModelCall(
        turn_id="t2", purpose=Purpose.TURN, conversation_external_id="c", latency_ms=1, created_at=timezone.now()
    )
    never_committed.user_id = "alice"
    never_committed.pk = lost_connection.pk  # SQLite gives the key of a row that was rolled back to the next one
    recording.insert_late([lost_connection, never_committed])
    assert sorted(ModelCall.objects.values_list("turn_id", flat=True)) == ["t", "t2"]

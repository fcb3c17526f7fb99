"""What operators set of a model goes before the environment's lists: it narrows them, and every process sees it."""

import threading
import time
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.bedrock import catalog, offering
from bedrock_chat.bedrock.overrides import last_faults, snapshot
from bedrock_chat.bedrock.overrides.models import LastFault, ModelOverride
from bedrock_chat.identity.caller import Caller, Program
from bedrock_chat.model_operation import changing
from bedrock_chat.model_operation.changing import Wanted
from bedrock_chat.wire.errors import BadRequest, Conflict, NotFound
from tests.together import at_once

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

NOVA, CLAUDE, HAIKU = "amazon-nova-pro", "claude-v4.5-sonnet", "claude-v4.5-haiku"
OPERATOR = Program.command("a test")
ALICE = Caller(user_id="alice", groups=frozenset({"research"}))
BOB = Caller(user_id="bob")
CAROL = Caller(user_id="carol", groups=frozenset({"Admin"}))


def test_a_disabled_model_is_offered_to_nobody_and_one_for_groups_to_their_members_alone(settings: Any) -> None:
    settings.GLOBAL_AVAILABLE_MODELS = [NOVA, CLAUDE]
    nova, claude, haiku = (catalog.MODELS[key] for key in (NOVA, CLAUDE, HAIKU))
    changing.change(NOVA, Wanted(groups=["research"]), actor=OPERATOR)
    assert [offering.is_offered(nova, who) for who in (ALICE, BOB, CAROL, None)] == [True, False, True, False]
    assert offering.offered(None) == [claude]
    changing.change(NOVA, Wanted(is_enabled=False), actor=OPERATOR)
    assert [offering.is_offered(nova, who) for who in (ALICE, BOB, CAROL)] == [False] * 3
    changing.change(HAIKU, Wanted(groups=[]), actor=OPERATOR)
    assert not offering.is_offered(haiku, CAROL)  # no row adds to what the environment offers
    assert offering.enabled() == [claude]


def test_a_default_model_takes_the_place_of_another(settings: Any) -> None:
    changing.change(NOVA, Wanted(is_default=True), actor=OPERATOR)
    changing.change(HAIKU, Wanted(is_default=True), actor=OPERATOR)
    assert offering.default_key() == HAIKU
    assert offering.offered(None)[0].key == HAIKU
    assert not ModelOverride.objects.filter(pk=NOVA).exists()  # its row says nothing any more
    assert [entry.target_id for entry in AuditEntry.objects.order_by("pk")] == [NOVA, NOVA, HAIKU]
    with pytest.raises(IntegrityError), transaction.atomic():
        ModelOverride.objects.create(key=NOVA, is_default=True)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(is_enabled=False, is_default=True),
        Wanted(is_default=True, groups=["research"]),
        Wanted(groups=[" "]),
        Wanted(groups=["a\0b"]),
        Wanted(groups=[str(number) for number in range(51)]),
        Wanted(input_price=Decimal(-1)),
        Wanted(output_price=Decimal(1000)),
    ],
)
def test_what_cannot_hold_is_refused(wanted: Wanted) -> None:
    with pytest.raises(BadRequest):
        changing.change(NOVA, wanted, actor=OPERATOR)
    with pytest.raises(NotFound):
        changing.change("no-model", Wanted(), actor=OPERATOR)
    assert not ModelOverride.objects.exists()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("keys", [(NOVA, NOVA), (NOVA, HAIKU)])
def test_of_two_operators_who_make_a_row_at_once_one_is_told_to_try_again(keys: tuple[str, str]) -> None:
    both = threading.Barrier(2, timeout=5)

    def change(key: str, price: int) -> str:
        both.wait()
        try:
            changing.change(key, Wanted(is_default=True, input_price=Decimal(price)), actor=OPERATOR)
        except Conflict as refusal:
            return str(refusal.detail)
        return "changed"

    for _ in range(5):
        ModelOverride.objects.all().delete()
        outcomes = at_once(*(partial(change, key, price) for price, key in enumerate(keys, 1)))
        assert "changed" in outcomes
        assert set(outcomes) <= {"changed", "Somebody else changes models at the same time; try again."}
        assert ModelOverride.objects.filter(is_default=True).count() == 1


def test_an_operators_price_goes_before_the_environments_and_is_kept_in_the_audit(settings: Any) -> None:
    settings.MODEL_PRICES = {NOVA: {"input": 0.5, "output": 2}}
    changing.change(NOVA, Wanted(input_price=Decimal("0.25")), actor=OPERATOR)
    nova = catalog.MODELS[NOVA]
    row = offering.price_row(nova, offering.route(nova))
    assert (row.input, row.output) == (Decimal("0.25"), Decimal(2))
    [entry] = AuditEntry.objects.all()
    assert (entry.verb, entry.target_kind, entry.fields) == ("change", "model", ["input_price"])
    assert entry.values == {"input_price": {"before": None, "after": 0.25}}
    changing.change(NOVA, Wanted(input_price=Decimal("0.25")), actor=OPERATOR)
    assert AuditEntry.objects.count() == 1


def test_another_process_sees_a_change_within_five_seconds_without_a_query_each_time(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    snapshot.forget()
    with django_assert_num_queries(1):
        assert snapshot.current().disabled == frozenset()
        assert not snapshot.current().narrows
    ModelOverride.objects.create(key=NOVA, is_enabled=False)  # by another process
    assert snapshot.current().disabled == frozenset()
    later = time.monotonic() + snapshot.FRESH_SECONDS + 0.1
    monkeypatch.setattr("bedrock_chat.bedrock.overrides.snapshot.time.monotonic", lambda: later)
    assert snapshot.current().disabled == {NOVA}


def test_while_the_database_is_away_what_was_known_last_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    changing.change(NOVA, Wanted(is_enabled=False), actor=OPERATOR)
    assert snapshot.current().disabled == {NOVA}
    snapshot.forget()

    def away() -> None:
        raise DatabaseError

    monkeypatch.setattr(snapshot, "refresh", away)
    assert snapshot.current().disabled == {NOVA}


def test_the_last_fault_of_a_model_is_kept() -> None:
    last_faults.note(NOVA, "ThrottlingException")
    last_faults.note(NOVA, "AccessDeniedException")
    last_faults.note(CLAUDE, "ThrottlingException")
    last_faults.write()
    last_faults.note(CLAUDE, "ModelTimeoutException")
    last_faults.write()
    assert dict(LastFault.objects.values_list("key", "code")) == {
        NOVA: "AccessDeniedException",
        CLAUDE: "ModelTimeoutException",
    }

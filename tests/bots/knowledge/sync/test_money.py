"""What a sync has paid for is in the ledger, whatever becomes of the sync."""

from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.bedrock import offering, pricing
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.jobs.queue import LeaseLost
from bedrock_chat.ledger.budgets import payers, periods
from bedrock_chat.ledger.budgets.models import PayerKind, Period
from bedrock_chat.ledger.models import ModelCall
from bots import ownership
from bots.knowledge import embedding, revisions, slices, syncing
from bots.knowledge.models import Document, Knowledge
from tests.bots.bot import body, edit, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator
from tests.ledger.budgets.spending import budget

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

NAMES = ("a.txt", "b.txt", "c.txt")


@pytest.fixture
def bot(alice: APIClient, emulator: Emulator) -> str:
    """Alice's bot with three files, which waits for its sync."""
    for name in NAMES:
        upload(alice, "b", name, f"The file {name} tells this.".encode())
    make(alice, "b", knowledge=sources(*NAMES))
    return "b"


def after_the_first_call(monkeypatch: pytest.MonkeyPatch, happen: Any) -> None:
    """Something happens when the first batch is paid, and before anything of it is written."""
    embed, has_happened = embedding._embed_batch, False

    def embedded(*arguments: Any) -> Any:
        nonlocal has_happened
        answer = yield from embed(*arguments)
        if not has_happened:
            has_happened = True
            happen()
        return answer

    monkeypatch.setattr(embedding, "_embed_batch", embedded)


def paid(emulator: Emulator) -> tuple[int, int]:
    """Texts that the model has embedded, and those that the ledger knows of."""
    return emulator.embedded()["texts"], sum(ModelCall.objects.values_list("calls", flat=True))


def test_a_cancelled_sync_writes_what_it_has_paid_for_and_ends_its_job(
    bot: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel() -> None:
        with transaction.atomic():
            assert revisions.cancel("b")

    after_the_first_call(monkeypatch, cancel)
    [job] = syncs.claim(revisions.KIND)
    syncing.sync(job)
    assert job.finished
    embedded, known = paid(emulator)
    assert embedded == known > 0
    assert syncs.knowledge().sync_status == "FAILED"
    assert syncs.knowledge().sync_price == sum_of_prices()


def sum_of_prices() -> int:
    from bedrock_chat.ledger.units import units_of

    return sum(units_of(call.price) for call in ModelCall.objects.all() if call.price is not None)


def test_a_bot_that_is_deleted_pays_for_what_its_sync_has_embedded(
    bot: str, alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_the_first_call(monkeypatch, lambda: body(alice.delete("/bot/b")))
    [job] = syncs.claim(revisions.KIND)
    with pytest.raises(LeaseLost):
        syncing.sync(job)
    embedded, known = paid(emulator)
    assert embedded == known > 0
    syncs.run()
    assert not any(syncs.counts().values())


def test_a_fault_of_one_document_loses_no_call_of_the_others_nor_their_attempts(
    bot: str, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(BaseException):
        """Nothing in a work expects it."""

    def fail() -> None:
        raise Broken

    after_the_first_call(monkeypatch, fail)
    [job] = syncs.claim(revisions.KIND)
    with pytest.raises(Broken):
        syncing.sync(job)
    embedded, known = paid(emulator)
    assert embedded == known > 0
    assert not Document.objects.filter(attempts__gt=0).exists()


def test_after_a_transfer_the_new_owner_pays(bot: str, alice: APIClient, bob: APIClient, emulator: Emulator) -> None:
    syncs.run()
    admin = User.objects.create(username="admin")
    new_owner = User.objects.get(username="bob")
    ownership.transfer("b", new_owner.pk, actor=Caller(user_id=admin.pk, groups=frozenset({"Admin"})))
    before = ModelCall.objects.count()
    upload(bob, "b", "d.txt", b"The file d.txt came later.")
    edit(bob, "b", knowledge=change(added=["d.txt"], unchanged=list(NAMES)))
    syncs.run()
    [call] = ModelCall.objects.order_by("pk")[before:]
    assert (call.user_id, call.payer_id) == (new_owner.pk, new_owner.pk)


def test_a_budget_without_room_ends_the_sync_says_until_when_and_it_goes_on_then(
    bot: str, alice: APIClient, emulator: Emulator
) -> None:
    hard = budget("b", "0", kind=PayerKind.BOT)
    syncs.run()
    answer, ends_at = read(alice, "b"), periods.present(timezone.now())[Period.MONTH].ends_at
    assert answer["syncStatus"] == "FAILED"
    assert answer["syncStatusReason"] == (
        f"The budget of this bot of 0 tokens a month is used up until {ends_at:%Y-%m-%d} 00:00 (UTC)."
    )
    assert (emulator.embedded()["texts"], syncs.knowledge().retry_at) == (0, ends_at)
    syncs.look_after()
    assert syncs.run() == 0
    hard.delete()
    payers.forget()
    Knowledge.objects.update(retry_at=timezone.now())
    syncs.look_after()
    syncs.run()
    assert (read(alice, "b")["syncStatus"], len(syncs.texts())) == ("SUCCEEDED", len(NAMES))


def test_a_model_without_a_price_embeds_so_many_tokens(
    bot: str, alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slices.UNPRICED_TOKENS == 100_000_000
    monkeypatch.setattr(slices, "UNPRICED_TOKENS", 1)
    monkeypatch.setattr(offering, "embedding_price_row", lambda _: pricing.UNPRICED)
    syncs.run()
    answer = read(alice, "b")
    assert answer["syncStatus"] == "FAILED"
    assert answer["syncStatusReason"].startswith("This sync has embedded ")
    assert answer["syncStatusReason"].endswith(
        " tokens with a model whose price is not known, and may not embed more. What was read so far can be found."
    )
    assert len(syncs.texts()) == emulator.embedded()["texts"] == 1
    assert ModelCall.objects.get().price is None

"""What a sync has paid for is in the ledger, whatever becomes of the sync."""

from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from bedrock_chat.jobs.queue import LeaseLost
from bedrock_chat.ledger.models import ModelCall
from bots.knowledge import embedding, revisions, syncing
from bots.knowledge.models import Document
from tests.bots.bot import body, make
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import sources, upload
from tests.emulator import Emulator

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

"""A bot's files: found once they are synced, found anew after an edit, and out of reach when they are removed."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.ledger.models import ModelCall
from bots.knowledge import deleting, status
from bots.knowledge.models import Edition
from bots.models import Bot
from tests.bots import bot as bots
from tests.bots.bot import edit, make
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import shown
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

HOLIDAYS = b"# Holidays\n\nEverybody has thirty days of holiday a year.\n\n# Sickness\n\nCall before nine o'clock.\n"
TRAVEL = b"Trains are booked in second class. Flights need the consent of a manager.\n"


def test_a_file_is_found_once_it_is_synced(alice: APIClient, emulator: Emulator) -> None:
    upload(alice, "b", "handbook.md", HOLIDAYS)
    made = make(alice, "b", knowledge=sources("handbook.md"))
    assert made["syncStatus"] == "QUEUED"
    assert syncs.run() >= 1
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    assert "thirty days" in " ".join(syncs.texts())
    [call] = ModelCall.objects.all()
    owner_id = Bot.objects.get().owner_id
    assert (call.purpose, call.user_id, call.payer_id, call.bot_id) == ("embedding", owner_id, owner_id, "b")
    assert call.calls == emulator.embedded()["calls"] > 0
    assert call.input_tokens > 0


def test_what_has_not_changed_costs_nothing_again(alice: APIClient, emulator: Emulator) -> None:
    upload(alice, "b", "handbook.md", HOLIDAYS)
    upload(alice, "b", "travel.txt", TRAVEL)
    make(alice, "b", knowledge=sources("handbook.md", "travel.txt"))
    syncs.run()
    assert syncs.embedded(emulator) > 0
    before = syncs.texts()
    edit(alice, "b", title="Another title", knowledge=change(unchanged=["handbook.md", "travel.txt"]))
    assert syncs.run() == 0
    upload(alice, "b", "handbook.md", HOLIDAYS.replace(b"thirty", b"forty"))
    edit(alice, "b", knowledge=change(added=["handbook.md"], unchanged=["travel.txt"]))
    assert shown(alice)[0] == "QUEUED"
    assert syncs.texts() == before
    syncs.run()
    assert syncs.embedded(emulator) == 1
    assert "forty days" in " ".join(syncs.texts())
    assert "thirty days" not in " ".join(syncs.texts())


def test_a_removed_file_is_out_of_reach_before_the_sync(alice: APIClient, emulator: Emulator) -> None:
    upload(alice, "b", "handbook.md", HOLIDAYS)
    upload(alice, "b", "travel.txt", TRAVEL)
    make(alice, "b", knowledge=sources("handbook.md", "travel.txt"))
    syncs.run()
    edit(alice, "b", knowledge=change(deleted=["handbook.md"], unchanged=["travel.txt"]))
    assert " ".join(syncs.texts()).strip() == TRAVEL.decode().strip()
    syncs.run()
    assert syncs.states() == {"file:travel.txt": "ready"}
    assert Edition.objects.count() == 1
    assert BlobReference.objects.filter(owner_kind=deleting.BLOB_OWNER).values("owner_id").distinct().count() == 1
    edit(alice, "b", knowledge=change(deleted=["travel.txt"]))
    assert syncs.texts() == []
    assert shown(alice) == ("SUCCEEDED", "")


def test_nothing_is_left_of_a_bot_that_is_deleted(
    alice: APIClient, emulator: Emulator, django_assert_max_num_queries: Any
) -> None:
    upload(alice, "b", "handbook.md", HOLIDAYS)
    make(alice, "b", knowledge=sources("handbook.md"))
    syncs.run()
    assert [table for table, count in syncs.counts().items() if not count] == ["bots.PageText"]  # no scan
    bots.body(alice.delete("/bot/b"))
    assert not Bot.objects.exists()
    syncs.run()
    assert not any(syncs.counts().values()), syncs.counts()
    assert not BlobReference.objects.exists()


def test_a_file_without_text_fails_its_source_and_the_others_are_found(alice: APIClient, emulator: Emulator) -> None:
    upload(alice, "b", "empty.txt", b"   \n\n  ")
    upload(alice, "b", "travel.txt", TRAVEL)
    make(alice, "b", knowledge=sources("empty.txt", "travel.txt"))
    syncs.run()
    state, reason = shown(alice)
    assert state == "FAILED"
    assert reason.startswith("empty.txt: ")
    assert "second class" in " ".join(syncs.texts())
    edit(alice, "b", title="Another title")
    assert shown(alice) == (state, reason)

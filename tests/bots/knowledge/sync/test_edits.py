"""Edits, requests and cancellations at any moment of a sync: the last one wins, and no sync is left waiting."""

import random
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Program
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import LeaseLost
from bedrock_chat.search.vectors.models import Vector
from bots import erasing
from bots.knowledge import deleting, revisions, status, syncing, upkeep
from bots.knowledge.models import Document, Edition, EditionState, Knowledge, KnowledgeIndex
from bots.models import SyncStatus
from tests.bots import bot as bots
from tests.bots.bot import edit, make
from tests.bots.knowledge import rows
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import shown
from tests.bots.test_parts import BASE
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


def named(number: int) -> str:
    return f"{number}.txt"


@pytest.fixture
def bot(alice: APIClient, emulator: Emulator) -> str:
    """Alice's bot with one file, which waits for its sync."""
    upload(alice, "b", named(0), b"Number 0 is the first of all.")
    make(alice, "b", knowledge=sources(named(0)))
    return "b"


def look_after() -> None:
    """The periodic job."""
    [job] = queue.claim("upkeep", 1, kind="look after knowledge") or [None]
    upkeep.look_after(job)  # type: ignore[arg-type]


def test_the_last_of_many_edits_during_a_sync_wins(
    bot: str, alice: APIClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits come between any two transactions of a slice, which each make it give way."""
    settings.KNOWLEDGE_SLICE_SECONDS = 3
    chance = random.Random(19)
    writing, number = syncing.Slice.writing, 0

    def edited_before(slice_: Any, **options: Any) -> Any:
        nonlocal number
        if number < 12 and chance.random() < 0.5:
            number += 1
            upload(alice, "b", named(number), f"Number {number} has come by now.".encode())
            edit(alice, "b", knowledge=change(added=[named(number)], deleted=[named(number - 1)]))
        return writing(slice_, **options)

    monkeypatch.setattr(syncing.Slice, "writing", edited_before)
    syncs.run()
    assert number == 12
    assert syncs.texts() == ["Number 12 has come by now."]
    assert syncs.states() == {"file:12.txt": "ready"}
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    assert not Job.objects.filter(kind=revisions.KIND).exists()


def stop_before_publishing() -> None:
    """A slice is told to stop when it has read a file, whose new text is still in the making."""
    [job] = syncs.claim(revisions.KIND)
    with syncs.before_writing(3, job.ending.request):
        syncing.sync(job)
    assert Edition.objects.filter(state=EditionState.MAKING).exists()


def change_text(client: APIClient, text: str, **fields: Any) -> None:
    upload(client, "b", named(0), text.encode())
    edit(client, "b", knowledge=change(added=[named(0)]), **fields)


def test_a_text_that_was_read_before_another_edit_is_found_after_it(bot: str, alice: APIClient) -> None:
    syncs.run()
    change_text(alice, "Number 0 is not the last.")
    stop_before_publishing()
    upload(alice, "b", named(1), b"Number 1 comes along.")
    edit(alice, "b", knowledge=change(added=[named(1)], unchanged=[named(0)]))
    syncs.run()
    assert syncs.texts() == ["Number 0 is not the last.", "Number 1 comes along."]


def test_a_text_that_comes_back_is_cut_anew_and_not_the_one_between(bot: str, alice: APIClient) -> None:
    syncs.run()
    change_text(alice, "Number 0 is not the last.")
    stop_before_publishing()
    change_text(alice, "Number 0 is the first of all.")
    syncs.run()
    assert Edition.objects.count() == 1
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "chunkingConfiguration": {"chunkingStrategy": "hierarchical"}})
    syncs.run()
    assert syncs.texts() == ["Number 0 is the first of all."]
    assert Vector.objects.count() == 1  # of the chunk, and none of its parent, which says the same


def test_a_text_that_was_read_for_a_model_that_is_given_up_is_found(bot: str, alice: APIClient) -> None:
    syncs.run()
    change_text(alice, "Number 0 is new.", bedrockKnowledgeBase={**BASE, "embeddingsModel": "cohere_multilingual_v3"})
    stop_before_publishing()
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "embeddingsModel": "titan_v2"})
    syncs.run()
    assert syncs.texts() == ["Number 0 is new."]
    assert KnowledgeIndex.objects.count() == Edition.objects.count() == 1


def test_a_cancelled_sync_keeps_what_it_has_and_its_worker_begins_nothing_more(bot: str, alice: APIClient) -> None:
    [job] = syncs.claim(revisions.KIND)
    with transaction.atomic():
        assert revisions.cancel("b")
    syncing.sync(job)
    assert not Document.objects.exists()
    assert shown(alice) == ("FAILED", "Cancelled.")
    look_after()
    syncs.run(deleting.KIND)
    assert syncs.run() == 0
    with transaction.atomic():
        revisions.request("b")
    assert shown(alice)[0] == "QUEUED"
    syncs.run()
    assert shown(alice)[0] == "SUCCEEDED"


def test_a_sync_that_would_begin_again_by_itself_is_cancelled(bot: str, alice: APIClient) -> None:
    rows.known("b", state=SyncStatus.FAILED, reason="The budget is used up.", retry_at=database_now())
    assert alice.post("/bot/b/knowledge/cancel").status_code == 200
    assert shown(alice) == ("FAILED", "Cancelled.")
    look_after()
    assert syncs.run(revisions.KIND) == 0
    assert alice.post("/bot/b/knowledge/sync").status_code == 200
    assert shown(alice)[0] == "QUEUED"


def test_a_request_for_all_reads_everything_anew(bot: str, alice: APIClient, emulator: Emulator) -> None:
    syncs.run()
    syncs.embedded(emulator)
    with transaction.atomic():
        revisions.request("b", full=True)
    version = Document.objects.get().version
    syncs.run()
    assert Document.objects.get().version == version  # the text is the same
    assert syncs.embedded(emulator) == 0


def test_a_sync_without_a_job_is_asked_for_again(bot: str, alice: APIClient) -> None:
    Job.objects.filter(kind=revisions.KIND).delete()
    look_after()
    syncs.run()
    assert shown(alice)[0] == "SUCCEEDED"
    look_after()
    assert not Job.objects.filter(kind=revisions.KIND).exists()


def test_a_dead_job_is_revived_where_its_sync_has_moved_and_else_the_sync_has_failed(
    bot: str, alice: APIClient
) -> None:
    dead = {"state": State.DEAD, "worker": "", "reason": "ValueError: what it was"}
    Job.objects.filter(kind=revisions.KIND).update(**dead)
    look_after()
    assert shown(alice) == ("FAILED", upkeep.FAULT)
    Knowledge.objects.update(moved_at=database_now())
    look_after()
    assert Job.objects.get(kind=revisions.KIND).state == State.DEAD  # it waits for an edit or a request
    with transaction.atomic():
        revisions.request("b")
    Job.objects.filter(kind=revisions.KIND).update(**dead)
    Knowledge.objects.update(moved_at=database_now())
    look_after()
    assert Job.objects.get(kind=revisions.KIND).state == State.READY
    Job.objects.filter(kind=revisions.KIND).update(**dead)
    upload(alice, "b", named(0), b"Number 0 is another one.")
    edit(alice, "b", knowledge=change(added=[named(0)]))
    syncs.run()
    assert shown(alice)[0] == "SUCCEEDED"


def test_each_run_asks_for_a_few_syncs_and_none_is_left_out(
    bot: str, alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(alice, "c", named(0), b"Number 0 is known to another bot.")
    make(alice, "c", knowledge=sources(named(0)))
    monkeypatch.setattr(upkeep, "MOST", 1)
    monkeypatch.setattr(upkeep, "MOST_ASKED", 1)
    Job.objects.filter(kind=revisions.KIND).delete()
    for jobs in (1, 2, 2):
        upkeep.look_after(None)  # type: ignore[arg-type]
        assert Job.objects.filter(kind=revisions.KIND).count() == jobs
    monkeypatch.setattr(upkeep, "MOST_ASKED", 2)
    Job.objects.filter(kind=revisions.KIND).delete()
    upkeep.look_after(None)  # type: ignore[arg-type]
    assert Job.objects.filter(kind=revisions.KIND).count() == 2


def test_a_worker_that_lost_the_job_writes_nothing(bot: str, alice: APIClient) -> None:
    [job] = syncs.claim(revisions.KIND)
    Job.objects.filter(pk=job.pk).update(attempt=2, worker="another")
    with pytest.raises(LeaseLost):
        syncing.sync(job)
    assert not Document.objects.exists()
    Job.objects.filter(pk=job.pk).update(state=State.READY, worker="", due_at=database_now())
    syncs.run()
    assert shown(alice)[0] == "SUCCEEDED"


def test_a_worker_that_is_told_to_stop_gives_the_sync_back(bot: str, alice: APIClient) -> None:
    [job] = syncs.claim(revisions.KIND)
    job.ending.request()
    performing.perform(job)
    assert Job.objects.get(kind=revisions.KIND).state == State.READY
    assert Document.objects.get().attempts == 0
    syncs.run()
    assert shown(alice)[0] == "SUCCEEDED"


def test_a_sync_that_no_worker_begins_says_so(bot: str, alice: APIClient) -> None:
    assert shown(alice) == ("QUEUED", "")
    Knowledge.objects.update(asked_at=database_now() - 2 * status.PATIENCE)
    assert shown(alice) == ("QUEUED", status.NO_WORKER)


def test_the_bots_of_a_suspended_owner_wait_and_say_why(bot: str, alice: APIClient) -> None:
    owner = bots_owner()
    owner.is_active = False
    owner.save()
    syncs.run()
    assert not Document.objects.exists()
    knowledge = syncs.knowledge()
    assert (knowledge.sync_status, knowledge.sync_status_reason) == (SyncStatus.QUEUED, syncing.SUSPENDED)
    look_after()
    assert syncs.run() == 0
    owner.is_active = True
    owner.save()
    look_after()
    syncs.run()
    assert shown(alice)[0] == "SUCCEEDED"


def bots_owner() -> Any:
    return Knowledge.objects.select_related("bot__owner").get().bot.owner  # type: ignore[union-attr]


def test_a_bot_that_is_deleted_during_its_sync_leaves_nothing(bot: str, alice: APIClient) -> None:
    [job] = syncs.claim(revisions.KIND)
    bots.body(alice.delete("/bot/b"))
    with pytest.raises(LeaseLost):
        syncing.sync(job)
    syncs.run()
    assert not any(syncs.counts().values())


def test_what_is_due_is_asked_for_and_what_is_not_is_left_alone(
    bot: str, alice: APIClient, settings: Any, django_assert_num_queries: Any
) -> None:
    syncs.run()
    settings.KNOWLEDGE_REFRESH_HOURS = 1
    Knowledge.objects.update(synced_at=database_now() - timedelta(hours=2))
    clock = connection.vendor == "postgresql"  # whose clock is a query
    with django_assert_num_queries(1 + clock):  # a bot with files alone has no place that may have changed
        upkeep.look_after(None)  # type: ignore[arg-type]
    assert shown(alice)[0] == "SUCCEEDED"
    edit(alice, "b", knowledge={**bots.KNOWLEDGE, "sourceUrls": ["http://127.0.0.1:9/"]})
    syncs.run()
    assert shown(alice)[0] == "FAILED"
    assert "127.0.0.1:9" in shown(alice)[1]
    Knowledge.objects.update(synced_at=database_now() - timedelta(hours=2))
    look_after()
    assert shown(alice)[0] == "QUEUED"


def test_nothing_is_left_of_what_an_erased_person_let_a_bot_know(bot: str, alice: APIClient) -> None:
    syncs.run()
    owner = bots_owner()
    list(erasing.prepare(owner.pk, actor=Program("command", "test")))
    assert not any(syncs.counts().values())

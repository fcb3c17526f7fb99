"""What is taken out of reach goes for good, whatever a sync does meanwhile, and removing it ends."""

import hashlib
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from bedrock_chat.alerts import of_jobs, opening
from bedrock_chat.alerts.models import OpenAlert
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import performing
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.search.models import SearchDocument
from bedrock_chat.search.passages import indexing
from bedrock_chat.search.vectors.models import VectorBits
from bots.knowledge import deleting, documents, revisions, syncing
from bots.knowledge.models import Document, Edition, KnowledgeIndex, Source
from tests.bots.bot import body, edit, make
from tests.bots.knowledge.sync import syncs
from tests.bots.test_parts import BASE
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def bot(alice: APIClient, emulator: Emulator) -> str:
    """Alice's bot with two files, which is synced."""
    for name, text in (("a.txt", b"Apples are red."), ("b.txt", b"Bananas are yellow.")):
        upload(alice, "b", name, text)
    make(alice, "b", knowledge=sources("a.txt", "b.txt"))
    syncs.run()
    return "b"


def test_a_file_that_is_removed_while_it_is_read_leaves_nothing_and_the_removal_ends(
    bot: str, alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(alice, "b", "a.txt", b"Apples are green.")
    edit(alice, "b", knowledge=change(added=["a.txt"], unchanged=["b.txt"]))
    store, is_removed = documents.storing.store, False

    def removed_before(blobs: Any) -> None:
        """The text was read, and is about to be kept."""
        nonlocal is_removed
        if not is_removed:
            is_removed = True
            edit(alice, "b", knowledge=change(deleted=["a.txt"], unchanged=["b.txt"]))
        store(blobs)

    monkeypatch.setattr(documents.storing, "store", removed_before)
    syncs.run(most=10)
    assert is_removed
    assert syncs.texts() == ["Bananas are yellow."]
    assert (Document.objects.count(), Edition.objects.count()) == (1, 1)
    assert not Job.objects.filter(kind=deleting.KIND).exists()


@pytest.mark.parametrize("end", ["cancelled", "cancelled while it runs", "given up", "owner suspended"])
def test_a_removed_file_goes_also_where_no_sync_comes_to_its_end(bot: str, alice: APIClient, end: str) -> None:
    edit(alice, "b", knowledge=change(deleted=["a.txt"], unchanged=["b.txt"]))
    [job] = syncs.claim(revisions.KIND)
    if end == "cancelled while it runs":
        with syncs.before_writing(0, lambda: body(alice.post("/bot/b/knowledge/cancel"))):
            syncing.sync(job)
    elif end == "owner suspended":
        User.objects.update(is_active=False)
        syncing.sync(job)
    elif end == "given up":
        Job.objects.filter(pk=job.pk).update(state=State.DEAD, worker="", reason="ValueError")
        syncs.look_after()
    else:
        Job.objects.filter(pk=job.pk).update(state=State.READY, worker="")
        body(alice.post("/bot/b/knowledge/cancel"))
    syncs.run()
    assert syncs.texts() == ["Bananas are yellow."]
    assert (Source.objects.count(), Document.objects.count(), Edition.objects.count()) == (1, 1, 1)
    assert SearchDocument.objects.filter(kind=indexing.KIND).count() == 1


def test_a_file_that_is_removed_from_all_versions_is_out_of_reach_at_once(bot: str, alice: APIClient) -> None:
    digest = hashlib.sha256(b"Apples are red.").hexdigest()
    assert body(alice.delete(f"/bot/b/files/{digest}")) is None
    assert syncs.texts() == ["Bananas are yellow."]
    syncs.run()
    assert (Source.objects.count(), Document.objects.count(), Edition.objects.count()) == (1, 1, 1)
    assert not BlobReference.objects.filter(blob=digest).exists()


def test_an_earlier_content_that_is_still_found_goes_with_its_removal_from_all_versions(
    bot: str, alice: APIClient
) -> None:
    """What has come in its place cannot be read, so that the document is found as it was."""
    upload(alice, "b", "a.txt", b"   ")
    edit(alice, "b", knowledge=change(added=["a.txt"], unchanged=["b.txt"]))
    syncs.run()
    assert syncs.texts() == ["Apples are red.", "Bananas are yellow."]
    digest = hashlib.sha256(b"Apples are red.").hexdigest()
    assert body(alice.delete(f"/bot/b/files/{digest}")) is None
    assert syncs.texts() == ["Bananas are yellow."]
    syncs.run()
    assert Edition.objects.count() == SearchDocument.objects.filter(kind=indexing.KIND).count() == 1
    assert not BlobReference.objects.filter(blob=digest).exists()
    upload(alice, "b", "a.txt", b"Apples are green.")
    edit(alice, "b", knowledge=change(added=["a.txt"], unchanged=["b.txt"]))
    syncs.run()
    assert syncs.texts() == ["Apples are green.", "Bananas are yellow."]


def test_removed_documents_take_no_place_in_a_search_before_their_rows_are_gone(
    bot: str, alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(alice, "b", knowledge=change(deleted=["a.txt"], unchanged=["b.txt"]))
    remove, seen = deleting.Removal._remove_editions, []

    def look(removal: Any, editions: Any) -> bool:
        seen.append(VectorBits.objects.filter(group_id__in=[edition.pk for edition in editions]).count())
        return remove(removal, editions)

    monkeypatch.setattr(deleting.Removal, "_remove_editions", look)
    syncs.run()
    assert seen == [0]
    assert VectorBits.objects.count() == 1


def test_a_removal_leaves_the_index_alone_that_a_sync_begins_meanwhile(
    bot: str, alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = syncs.knowledge().serving_id
    with transaction.atomic():
        deleting.ask(syncs.knowledge().pk)
    remove, making = deleting.Removal._remove_rest, None

    def planned_before(removal: Any, knowledge: Any) -> bool:
        """The removal has read which indexes there are."""
        nonlocal making
        if making is None:
            model = {**BASE, "embeddingsModel": "cohere_multilingual_v3"}
            edit(alice, "b", knowledge=change(unchanged=["a.txt", "b.txt"]), bedrockKnowledgeBase=model)
            [job] = syncs.claim(revisions.KIND)
            job.ending.request()
            syncing.sync(job)
            making = syncs.knowledge().making_id
        return remove(removal, knowledge)

    monkeypatch.setattr(deleting.Removal, "_remove_rest", planned_before)
    syncs.run(deleting.KIND)
    assert syncs.knowledge().making_id == making
    assert making not in (None, first)
    Job.objects.update(due_at=database_now())
    syncs.run()
    [index] = KnowledgeIndex.objects.all()
    assert (index.pk, index.model, index.chunks) == (making, "cohere_multilingual_v3", 2)


def test_a_removal_stops_when_its_worker_ends_and_the_next_one_goes_on(bot: str, alice: APIClient) -> None:
    edit(alice, "b", knowledge=change(deleted=["a.txt"], unchanged=["b.txt"]))
    [job] = syncs.claim(deleting.KIND) or [None]
    assert job is None  # it is asked for by the sync
    syncs.run(revisions.KIND)
    [job] = syncs.claim(deleting.KIND)
    job.ending.request()
    deleting.purge(job)
    assert Edition.objects.count() == 2
    syncs.run()
    assert Edition.objects.count() == 1


@pytest.mark.parametrize("is_gone", [False, True], ids=["of a file", "of a bot"])
def test_a_removal_that_always_fails_is_tried_each_hour_alerts_operators_once_and_is_done_once_it_can_be(
    is_gone: bool, bot: str, alice: APIClient, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALERT_EMAILS = ["olga@example.org"]
    if is_gone:
        assert alice.delete("/bot/b").status_code == 200
    else:
        edit(alice, "b", knowledge=change(deleted=["a.txt"], unchanged=["b.txt"]))
        syncs.run(revisions.KIND)
    waits = []
    with monkeypatch.context() as patch:
        patch.setattr(deleting.Removal, "step", lambda _: 1 / 0)
        for _ in range(12):
            Job.objects.filter(kind=deleting.KIND).update(due_at=database_now())
            [job] = syncs.claim(deleting.KIND)
            performing.perform(job, deleting.purge)
            syncs.look_after()
            [(state, due_at)] = Job.objects.filter(kind=deleting.KIND).values_list("state", "due_at")
            assert state == State.READY
            waits.append((due_at - database_now()).total_seconds())
            opening.look(SimpleNamespace(finish=lambda: None))  # type: ignore[arg-type]
    assert waits[0] < 3
    assert all(longer > shorter * 0.9 for shorter, longer in pairwise(waits))
    assert all(3590 < wait <= 3600 for wait in waits[8:])
    assert OpenAlert.objects.get(condition=of_jobs.FAILING).sentence == "1 job fails each time: purge knowledge."
    sent = [key for job in Job.objects.filter(kind="send alerts") for key in job.payload["alerts"]]
    assert sent.count("failing jobs:purge knowledge") == 1
    Job.objects.filter(kind=deleting.KIND).update(due_at=database_now())
    syncs.run()
    assert Edition.objects.count() == (0 if is_gone else 1)
    assert not Job.objects.filter(kind=deleting.KIND).exists()
    assert list(of_jobs.failing()) == []

"""Limits keep what was read, and a sync that has to wait or to end says why."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.models import ModelCall
from bots.knowledge import batches, editions, faults, revisions, status, syncing
from bots.knowledge.configuration import undivided
from bots.knowledge.models import Chunk, Document, Edition, Knowledge, KnowledgeIndex
from bots.knowledge.slices import Slice
from tests.bots.bot import edit, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import again, shown
from tests.bots.knowledge.sync.test_edits import look_after
from tests.bots.test_parts import BASE
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

NAMES = ("a.txt", "b.txt", "c.txt")
TEXTS = {"a.txt": b"Apples are red.", "b.txt": b"Bananas are yellow.", "c.txt": b"Cherries are dark."}


@pytest.fixture(autouse=True)
def _fast_refusals(settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 0.2
    syncs.calm()


@pytest.fixture
def bot(alice: APIClient, emulator: Emulator) -> str:
    """Alice's bot with three files, which waits for its sync."""
    for name, text in TEXTS.items():
        upload(alice, "b", name, text)
    make(alice, "b", knowledge=sources(*NAMES))
    return "b"


def test_a_sync_that_may_cost_nothing_embeds_nothing(
    bot: str, alice: APIClient, emulator: Emulator, settings: Any
) -> None:
    settings.KNOWLEDGE_SYNC_MAX_COST = Decimal(0)
    syncs.run()
    state, reason = shown(alice)
    assert (state, syncs.texts()) == ("FAILED", [])
    assert reason.startswith("This sync has cost 0.00 USD, and 0 USD are what it may cost.")
    assert syncs.embedded(emulator) == 0
    settings.KNOWLEDGE_SYNC_MAX_COST = Decimal("0.0000001")
    again()
    assert shown(alice)[0] == "FAILED"
    assert 0 < len(syncs.texts()) < len(NAMES) + 1
    settings.KNOWLEDGE_SYNC_MAX_COST = Decimal("0.5")
    again()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    assert len(syncs.texts()) == len(NAMES)
    assert ModelCall.objects.count() == len(NAMES)  # nothing was paid twice


def test_more_documents_than_a_bot_may_have_are_left_out(bot: str, alice: APIClient, settings: Any) -> None:
    settings.KNOWLEDGE_MAX_DOCUMENTS = 2
    syncs.run()
    state, reason = shown(alice)
    assert state == "FAILED"
    assert reason.startswith("There are more documents than one bot may have")
    assert len(syncs.texts()) == 2


def test_more_passages_than_a_bot_may_have_are_left_out(bot: str, alice: APIClient, settings: Any) -> None:
    settings.KNOWLEDGE_MAX_CHUNKS = 2
    syncs.run()
    assert shown(alice)[0] == "FAILED"
    assert 0 < len(syncs.texts()) <= 2


def test_a_throttled_model_fails_no_document_and_the_sync_says_that_it_waits(
    bot: str, alice: APIClient, emulator: Emulator
) -> None:
    emulator.embeddings(troubles=[{"fault": "ThrottlingException", "times": 1000}])
    syncs.run()
    state, reason = shown(alice)
    assert state == "RUNNING"
    assert "refuses calls for now (ThrottlingException)" in reason
    assert set(syncs.states().values()) == {"read"}
    waiting = Job.objects.get(kind=revisions.KIND)
    assert waiting.due_at > database_now() + timedelta(seconds=50)

    Job.objects.update(due_at=database_now())
    Knowledge.objects.update(refused_since=database_now() - timedelta(hours=2))
    syncs.calm()
    syncs.run()
    state, reason = shown(alice)
    assert (state, "for an hour" in reason) == ("FAILED", True)
    retry_at = syncs.knowledge().retry_at
    assert retry_at is not None
    assert retry_at > database_now() + timedelta(minutes=50)

    emulator.embeddings()
    syncs.calm()
    Knowledge.objects.update(retry_at=database_now())
    look_after()
    syncs.run()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    assert len(syncs.texts()) == len(NAMES)


def test_a_model_that_refuses_access_ends_the_sync_and_is_named(bot: str, alice: APIClient, emulator: Emulator) -> None:
    emulator.embeddings(troubles=[{"fault": "AccessDeniedException", "times": 1000}])
    syncs.run()
    state, reason = shown(alice)
    assert state == "FAILED"
    assert "amazon.titan-embed-text-v2:0" in reason
    assert syncs.knowledge().retry_at is None


def test_a_document_that_workers_are_lost_over_is_failed_and_the_others_go_on(bot: str, alice: APIClient) -> None:
    for _ in range(3):
        [job] = syncs.claim(revisions.KIND)
        slice_ends_as_if_killed(job)
    syncs.run()
    assert syncs.states() == {"file:a.txt": "failed", "file:b.txt": "ready", "file:c.txt": "ready"}
    assert shown(alice) == ("FAILED", f"a.txt: {faults.WORKER_LOST}")
    again()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)


def slice_ends_as_if_killed(job: Any) -> None:
    """What a worker leaves that is killed while it reads `a.txt`: an attempt, and a job whose lease runs out."""
    if not Document.objects.exists():
        job.ending.request()
        from bots.knowledge import syncing

        syncing.sync(job)
    else:
        Job.objects.filter(pk=job.pk).update(due_at=database_now())
    Document.objects.filter(location="file:a.txt").update(attempts=Document.objects.get(name="a.txt").attempts + 1)


def test_another_model_serves_when_it_is_whole(bot: str, alice: APIClient, emulator: Emulator) -> None:
    syncs.run()
    first = syncs.knowledge().serving_id
    emulator.embeddings(troubles=[{"fault": "ThrottlingException", "times": 1000, "text": "Cherries"}])
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "embeddingsModel": "cohere_multilingual_v3"})
    syncs.run()
    assert syncs.knowledge().serving_id == first
    assert syncs.knowledge().making_id is not None
    assert len(syncs.texts()) == len(NAMES)  # the index of the model before
    emulator.embeddings()
    syncs.calm()
    Job.objects.update(due_at=database_now())
    syncs.run()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    [index] = KnowledgeIndex.objects.all()  # the other one is purged
    assert (index.pk, index.model, index.chunks) == (syncs.knowledge().serving_id, "cohere_multilingual_v3", 3)
    assert len(syncs.texts()) == Chunk.objects.count() == len(NAMES)


def test_another_way_of_cutting_replaces_the_chunks_and_fetches_nothing(
    bot: str, alice: APIClient, emulator: Emulator
) -> None:
    syncs.run()
    chunking = {"chunkingStrategy": "hierarchical"}
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "chunkingConfiguration": chunking})
    syncs.run()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    assert Chunk.objects.filter(is_parent=True).count() == len(NAMES)
    assert not Chunk.objects.filter(is_parent=False, parent=None).exists()
    assert Document.objects.filter(version=1).count() == len(NAMES)  # no text was read anew
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "chunkingConfiguration": {"chunkingStrategy": "semantic"}})
    syncs.run()
    assert sorted(syncs.texts()) == sorted(text.decode() for text in TEXTS.values())
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "chunkingConfiguration": {"chunkingStrategy": "none"}})
    syncs.run()
    assert set(Edition.objects.values_list("cut", flat=True)) == {undivided("titan_v2")}  # by which searches know them


def test_the_end_of_a_crawl_leaves_no_file_out(bot: str, alice: APIClient, settings: Any) -> None:
    settings.KNOWLEDGE_CRAWL_HOURS = 0
    syncs.run()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)  # there is nothing to be crawled
    upload(alice, "b", "d.txt", b"Dates are brown.")
    site = {"sourceUrls": ["http://127.0.0.1:9/"]}
    edit(alice, "b", knowledge={**change(added=["d.txt"], unchanged=list(NAMES)), **site})
    syncs.run()
    assert "The crawl has taken 0 hours" in shown(alice)[1]
    assert len(syncs.texts()) == len(NAMES) + 1


def test_a_document_of_too_many_passages_fails_before_it_is_cut(alice: APIClient, emulator: Emulator) -> None:
    upload(alice, "b", "long.txt", b"word " * 30_000)
    chunking = {"chunkingStrategy": "fixed_size", "maxTokens": 2, "overlapPercentage": 50}
    base = {**BASE, "chunkingConfiguration": chunking}
    make(alice, "b", knowledge=sources("long.txt"), bedrockKnowledgeBase=base)
    syncs.run()
    bot = read(alice, "b")
    assert bot["syncStatus"] == "FAILED"
    assert bot["syncStatusReason"] == (
        "long.txt: It would be cut into over 37,500 passages, of at most 20,000; cut it larger."
    )
    assert emulator.embedded()["calls"] == 0


def test_a_text_that_takes_longer_to_cut_than_a_slice_comes_further_with_each(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four such texts would otherwise take a worker's place for ever, and never be found."""
    monkeypatch.setattr(batches, "AT_ONCE", 4)
    monkeypatch.setattr(editions, "WORDS_AT_ONCE", 4)
    cut = editions._cut

    def cut_for_long(slice_: Slice, *arguments: Any) -> Any:
        chunks = yield from cut(slice_, *arguments)
        slice_.end = 0.0
        return chunks

    monkeypatch.setattr(editions, "_cut", cut_for_long)
    chunking = {"chunkingStrategy": "fixed_size", "maxTokens": 20, "overlapPercentage": 1}
    upload(alice, "b", "long.txt", " ".join(f"Sentence {number} is one of many." for number in range(40)).encode())
    make(alice, "b", knowledge=sources("long.txt"), bedrockKnowledgeBase={**BASE, "chunkingConfiguration": chunking})
    slices = 0
    while slices < 20 and (jobs := syncs.claim(revisions.KIND)):
        for job in jobs:
            syncing.sync(job)
            slices += 1
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    assert Chunk.objects.count() > 8
    assert slices > 2

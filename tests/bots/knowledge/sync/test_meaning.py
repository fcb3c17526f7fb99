"""A text that is cut by its meaning: each sentence is paid once, in as many slices as that takes."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bots.knowledge import embedding, meaning, revisions, status, syncing
from bots.knowledge.models import Edition, EditionState
from tests.bots.bot import make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.test_scans import BASE
from tests.bots.upload import sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

SEMANTIC = {
    **BASE,
    "parsingModel": "disabled",
    "chunkingConfiguration": {
        "chunkingStrategy": "semantic",
        "maxTokens": 300,
        "bufferSize": 0,
        "breakpointPercentileThreshold": 95,
    },
}
SENTENCES = 14
TEXT = " ".join(f"Sentence number {number} tells of thing {number * 7}." for number in range(SENTENCES))


def test_a_text_longer_than_a_slice_goes_on_where_it_was(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meaning, "AT_ONCE", 4)
    slices: list[Any] = []
    embed = embedding.embed

    def cut_off(slice_: Any, texts: Any) -> Any:
        paid = yield from embed(slice_, texts)
        if not Edition.objects.filter(chunks__gt=0).exists():
            slices.append(len(texts))
            slice_.end = 0.0
        return paid

    upload(alice, "b", "a.txt", TEXT.encode())
    make(alice, "b", knowledge=sources("a.txt"), bedrockKnowledgeBase=SEMANTIC)
    monkeypatch.setattr(embedding, "embed", cut_off)
    while not Edition.objects.filter(state=EditionState.LIVE).exists() and len(slices) < 9:
        for job in syncs.claim(revisions.KIND):
            syncing.sync(job)
    syncs.run()
    assert read(alice, "b")["syncStatusReason"] == status.SUCCEEDED
    assert slices[:5] == [4, 4, 4, 4, 2]  # the last sentence of a slice is read again by the next one
    assert len(Edition.objects.get().breaks or ()) == SENTENCES - 1


def test_a_sentence_that_the_model_refuses_fails_the_document(alice: APIClient, emulator: Emulator) -> None:
    emulator.embeddings(troubles=[{"fault": "ValidationException", "times": 1000}])
    upload(alice, "b", "a.txt", TEXT.encode())
    make(alice, "b", knowledge=sources("a.txt"), bedrockKnowledgeBase=SEMANTIC)
    syncs.run()
    answer = read(alice, "b")
    assert answer["syncStatus"] == "FAILED"
    assert "refused the text." in answer["syncStatusReason"]
    assert syncs.states() == {"file:a.txt": "failed"}

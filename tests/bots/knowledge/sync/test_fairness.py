"""One person's many bots do not keep another person's one file from being found."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bots.knowledge import revisions, syncing
from bots.models import Bot
from tests.bots.bot import KNOWLEDGE, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]
BOTS = 7


def slices(places: int, until: Callable[[], bool], settings: Any) -> list[str]:
    """Does slices as a worker with so many places does them, and tells whose they were. Alice's are over as soon as
    they begin, as those are that wait for a site until their time is up.
    """
    begun: list[str] = []
    while not until():
        for job in queue.claim("worker", 8, kind=revisions.KIND, room={revisions.KIND: places}):
            owner = Bot.objects.get(knowledge=job.payload["knowledge"]).owner.username
            settings.KNOWLEDGE_SLICE_SECONDS = 30 if owner == "bob" else 0
            syncing.sync(job)
            assert job.finished
            if not Job.objects.filter(pk=job.pk, place__isnull=False).exists():
                begun.append(owner)
        assert len(begun) < 5 * BOTS, begun
    return begun


def test_a_file_is_found_after_the_slices_that_run_however_many_bots_of_another_owner_wait(
    alice: APIClient, client_of: Callable[..., APIClient], emulator: Emulator, settings: Any
) -> None:
    bob = client_of("bob", "CreatingBotAllowed")
    for number in range(BOTS):
        make(alice, f"a{number}", knowledge={**KNOWLEDGE, "sourceUrls": [f"http://127.0.0.1:9/{number}/"]})
    assert slices(2, lambda: Job.objects.filter(kind=revisions.KIND, payload__has_key="after").exists(), settings)
    upload(bob, "b", "b.txt", b"Bananas are yellow.")
    make(bob, "b", knowledge=sources("b.txt"))
    begun = slices(2, lambda: read(bob, "b")["syncStatus"] == "SUCCEEDED", settings)
    assert begun.index("bob") < 3
    assert begun.count("bob") == 1
    assert syncs.texts("b") == ["Bananas are yellow."]


def test_every_bot_of_an_owner_has_its_slice(alice: APIClient, settings: Any) -> None:
    for number in range(BOTS):
        make(alice, f"a{number}", knowledge={**KNOWLEDGE, "sourceUrls": [f"http://127.0.0.1:9/{number}/"]})
    running = Bot.objects.filter(knowledge__sync_status="RUNNING")
    begun = slices(2, lambda: running.count() == BOTS, settings)
    assert len(begun) <= BOTS + 2

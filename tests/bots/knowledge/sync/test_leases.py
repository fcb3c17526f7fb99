"""Two workers on one bot: one that has slept through its lease writes nothing, and nothing is there twice.

`SOAK=1` makes 100 pairs.
"""

import os
import random
from typing import Any

import pytest
from django.apps import apps
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from bedrock_chat.ledger.models import ModelCall
from bots.knowledge import revisions, syncing
from bots.knowledge.models import Chunk, Document, Edition, Knowledge
from tests.bots.bot import make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

PAIRS = 100 if os.environ.get("SOAK") else 7
NAMES = ("a.txt", "b.txt", "c.txt", "d.txt")
FEWEST_TRANSACTIONS = 20
"""Of the sync of these files, which takes a few more."""


def rows() -> dict[str, list[dict[str, Any]]]:
    """What the queue and all tables of knowledge hold, without what syncs have cost, which is spent by then."""
    labels = [*syncs.counts(), Job._meta.label]
    by_label = {label: list(apps.get_model(label)._default_manager.order_by("pk").values()) for label in labels}
    for knowledge in by_label[Knowledge._meta.label]:
        del knowledge["sync_price"], knowledge["sync_tokens"]
    return by_label


def expire() -> None:
    """The lease of the worker that syncs is over."""
    Job.objects.filter(kind=revisions.KIND).update(due_at=database_now(), attempt=1)


def take_over(chance: random.Random) -> None:
    """Another worker claims the job: it is through with it, told to stop, or killed."""
    [job] = queue.claim("another", 1, kind=revisions.KIND)
    ending = chance.choice(("through", "stopped", "killed"))
    if ending == "killed":
        with syncs.killed_after(chance.randrange(200)):
            syncing.sync(job)
    else:
        with syncs.before_writing(chance.randrange(20) if ending == "stopped" else -1, job.ending.request):
            performing.perform(job)


def sleep_through(job: Claimed, chance: random.Random) -> None:
    """A worker sleeps before one of its transactions while another takes over, and wakes."""
    left: list[Any] = []

    def sleep() -> None:
        expire()
        take_over(chance)
        left.append(rows())

    with syncs.before_writing(chance.randrange(FEWEST_TRANSACTIONS), sleep), pytest.raises(LeaseLost):
        syncing.sync(job)
    assert [rows()] == left


def test_a_worker_that_slept_through_its_lease_writes_nothing(alice: APIClient, emulator: Emulator) -> None:
    for number in range(PAIRS):
        chance, bot_id = random.Random(number), f"b{number}"
        for name in NAMES:
            upload(alice, bot_id, name, f"What {name} of {bot_id} says is said once.".encode())
        make(alice, bot_id, knowledge=sources(*NAMES))
        [job] = queue.claim("sleeper", 1, kind=revisions.KIND)
        sleep_through(job, chance)
        expire()
        Document.objects.update(attempts=0)  # it is no document that lost these workers
        syncs.run()
        assert read(alice, bot_id)["syncStatus"] == "SUCCEEDED"
        assert syncs.texts(bot_id) == [f"What {name} of {bot_id} says is said once." for name in NAMES]
        mine = {"knowledge": syncs.knowledge(bot_id)}
        assert Document.objects.filter(**mine).count() == len(NAMES)
        editions = Edition.objects.filter(document__knowledge=mine["knowledge"])
        assert editions.count() == Chunk.objects.filter(edition__in=editions).count() == len(NAMES)
    made, in_ledger = emulator.embedded(), ModelCall.objects.filter(purpose="embedding")
    assert sum(call.calls or 1 for call in in_ledger) <= made["calls"]

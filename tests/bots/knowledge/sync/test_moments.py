"""Edits by others at random moments of syncs: the last one wins, and no sync is left waiting.

`SOAK=1` makes 200 edits.
"""

import os
import random
import threading
import time

import pytest
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.models import Job
from bots.knowledge import deleting, revisions, status
from bots.knowledge.models import Document
from tests.bots.bot import body, edit, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator
from tests.together import at_once

pytestmark = [pytest.mark.both, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

EDITS = 200 if os.environ.get("SOAK") else 20
NAMES = ("a.txt", "b.txt", "c.txt")
LONGEST_WAIT = 0.3
"""Seconds between two edits: a sync of the files takes about as long."""


def test_the_last_of_many_edits_at_random_moments_wins(alice: APIClient, emulator: Emulator) -> None:
    files = {name: f"{name} in version 0." for name in NAMES}
    for name, text in files.items():
        upload(alice, "b", name, text.encode())
    make(alice, "b", knowledge=sources(*NAMES))
    over = threading.Event()

    def edit_often() -> None:
        chance = random.Random(19)
        try:
            for version in range(1, EDITS + 1):
                time.sleep(chance.random() * LONGEST_WAIT)
                name = chance.choice(NAMES)
                others = [other for other in files if other != name]
                if name in files and len(files) > 1 and chance.random() < 0.3:
                    del files[name]
                    body(edit(alice, "b", knowledge=change(deleted=[name], unchanged=others)))
                    continue
                # A text that comes back is the hard case: it may be found, in the making, or on its way out.
                files[name] = f"{name} in version {chance.choice((0, 0, version))}."
                upload(alice, "b", name, files[name].encode())
                body(edit(alice, "b", knowledge=change(added=[name], unchanged=others)))
        finally:
            over.set()

    def work(kind: str) -> None:
        while not over.is_set():
            for job in queue.claim(f"worker of {kind}", 1, kind=kind):
                performing.perform(job)
            time.sleep(0.005)

    at_once(edit_often, lambda: work(revisions.KIND), lambda: work(revisions.KIND), lambda: work(deleting.KIND))
    assert not Job.objects.exclude(reason="").exists()
    syncs.run()
    Job.objects.filter(kind=deleting.KIND).update(due_at=database_now())  # or it looks again in a minute
    syncs.run()
    assert syncs.texts() == [files[name] for name in sorted(files)]
    assert syncs.states() == {f"file:{name}": "ready" for name in files}
    answer = read(alice, "b")
    assert (answer["syncStatus"], answer["syncStatusReason"]) == ("SUCCEEDED", status.SUCCEEDED)
    assert not Job.objects.filter(kind__in=[revisions.KIND, deleting.KIND]).exists()
    assert Document.objects.count() == len(files)

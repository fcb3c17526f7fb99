"""A worker is killed at any statement of a sync: each document is there once, and little is paid twice.

`SOAK=1` kills 200 workers over 200 documents.
"""

import os
import sys
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Sum
from rest_framework.test import APIClient

from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.models import ModelCall
from bots.files import MOST_AT_ONCE
from bots.knowledge import revisions
from bots.knowledge.lanes import AT_ONCE
from bots.knowledge.models import Chunk, Document, Edition
from tests.bots.bot import edit, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import change, sources, upload
from tests.conversations.test_crash import ROOT, database_url
from tests.emulator import Emulator
from tests.forking import client as forking

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

FEW, MANY = 10, 200 if os.environ.get("SOAK") else 20
STATEMENTS = 160


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_each_document_is_there_once_however_often_its_worker_is_killed(
    alice: APIClient, emulator: Emulator, tmp_path: Path, kills: int
) -> None:
    documents = kills
    Path(default_storage.path("")).mkdir(exist_ok=True)
    names = [f"{number}.txt" for number in range(documents)]
    for number, name in enumerate(names):
        upload(alice, "b", name, f"Document {number} says {'word ' * 40}{number}.".encode())
    first, others = names[:MOST_AT_ONCE], names[MOST_AT_ONCE:]
    make(alice, "b", knowledge=sources(*first))
    if others:
        edit(alice, "b", knowledge=change(added=others, unchanged=first))
    data = tmp_path / "data"
    data.mkdir()
    (data / "blobs").symlink_to(default_storage.path(""))
    environment = {
        **os.environ,
        "DEBUG": "true",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(data),
        "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator.url,
        "KNOWLEDGE_SLICE_SECONDS": "1",
        "KNOWLEDGE_READERS": "1",
    }
    killed = runs = 0
    while killed < kills:
        if not Job.objects.filter(kind=revisions.KIND).exists():  # the sync came to its end between two kills
            with transaction.atomic():
                revisions.request("b", full=True)
        command = [sys.executable, "-m", "tests.bots.knowledge.sync.killed_driver", str(runs), str(STATEMENTS)]
        done = forking.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, -9), done.stderr
        killed += done.returncode == -9
        runs += 1
        assert runs < 20 * kills, "the syncs do nothing in which they could be killed"
    Job.objects.filter(kind=revisions.KIND).update(due_at="2020-01-01T00:00:00Z", attempt=0)
    syncs.run()
    answer = read(alice, "b")
    assert answer["syncStatus"] == "SUCCEEDED", answer["syncStatusReason"]
    assert set(syncs.states().values()) == {"ready"}
    assert Document.objects.count() == Edition.objects.count() == Chunk.objects.count() == documents
    assert len(syncs.texts()) == documents
    paid = ModelCall.objects.aggregate(calls=Sum("calls"))["calls"]
    log = emulator.embedded()
    made = log["calls"]
    assert log["texts"] == made  # the model takes one text a call
    assert log["distinct"] == documents
    assert paid <= made <= documents + killed * AT_ONCE  # a batch of each document that was under way at a kill
    assert made - paid <= killed * AT_ONCE  # what a kill cuts off has no row

"""A worker is killed at any statement of a sync: each document is there once, and little is paid twice.

`SOAK=1` kills 200 workers over 200 documents.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
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

pytestmark = [pytest.mark.both, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

DOCUMENTS, KILLS = (200, 200) if os.environ.get("SOAK") else (12, 8)
STATEMENTS = 160


def test_each_document_is_there_once_however_often_its_worker_is_killed(
    alice: APIClient, emulator: Emulator, tmp_path: Path, settings: Any
) -> None:
    Path(default_storage.path("")).mkdir(exist_ok=True)
    names = [f"{number}.txt" for number in range(DOCUMENTS)]
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
    killed = 0
    for seed in range(KILLS):
        command = [sys.executable, "-m", "tests.bots.knowledge.sync.killed_driver", str(seed), str(STATEMENTS)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode in (0, -9), done.stderr
        killed += done.returncode == -9
    assert killed > 0
    Job.objects.filter(kind=revisions.KIND).update(due_at="2020-01-01T00:00:00Z", attempt=0)
    syncs.run()
    answer = read(alice, "b")
    assert answer["syncStatus"] == "SUCCEEDED", answer["syncStatusReason"]
    assert set(syncs.states().values()) == {"ready"}
    assert Document.objects.count() == Edition.objects.count() == Chunk.objects.count() == DOCUMENTS
    assert len(syncs.texts()) == DOCUMENTS
    paid = ModelCall.objects.aggregate(calls=Sum("calls"))["calls"]
    log = emulator.embedded()
    made = log["calls"]
    assert log["texts"] == made  # the model takes one text a call
    assert log["distinct"] == DOCUMENTS
    assert paid <= made <= DOCUMENTS + killed * AT_ONCE  # a batch of each document that was under way at a kill
    assert made - paid <= killed * AT_ONCE  # what a kill cuts off has no row

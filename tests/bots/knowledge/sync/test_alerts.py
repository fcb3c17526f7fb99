"""Operators hear of syncs that failed by this server, the model or S3, and not of what a bot's owner got wrong."""

from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.blobs import s3_folders
from bots import alerting
from bots.knowledge import chunking, documents, faults, listing, page_texts, status, upkeep
from bots.knowledge.models import Knowledge, SourceKind
from bots.models import Bot, SyncStatus
from tests.bots.bot import KNOWLEDGE, make, read
from tests.bots.knowledge import rows
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import Site
from tests.bots.upload import sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]


def subjects() -> list[str]:
    return [problem.subject for problem in alerting.problems()]


def test_wrong_addresses_and_files_of_one_person_alert_nobody(alice: APIClient, emulator: Emulator) -> None:
    upload(alice, "b", "old.doc", b"x")
    upload(alice, "b", "torn.pdf", b"%PDF-1.7 torn")
    with Site({"/closed": (403, {}, b"")}) as site:
        urls = [f"{site.url}/gone", f"{site.url}/closed", "http://10.0.0.1/"]
        maps = [f"{site.url}/map.xml"]
        make(alice, "b", knowledge={**sources("old.doc", "torn.pdf"), "sourceUrls": urls, "sitemapUrls": maps})
        syncs.run()
    bot = read(alice, "b")
    assert bot["syncStatus"] == "FAILED"
    for sentence in ("old.doc: This type", "torn.pdf: this file", "answered 404.", "answered 403.", "not allowed."):
        assert sentence in bot["syncStatusReason"]
    assert subjects() == []


def test_a_model_that_refuses_access_alerts_operators(alice: APIClient, emulator: Emulator) -> None:
    emulator.embeddings(troubles=[{"fault": "AccessDeniedException", "times": 1000}])
    upload(alice, "b", "a.txt", b"Apples are red.")
    make(alice, "b", knowledge=sources("a.txt"))
    syncs.run()
    assert read(alice, "b")["syncStatusReason"].startswith("Bedrock refuses access to ")
    [problem] = alerting.problems()
    assert problem.sentence == "The knowledge of bot b could not be brought up to date."


def test_a_fault_of_this_server_alerts_operators_and_is_told_before_what_is_not_its_own(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{'x' * 200}{number}.doc" for number in range(9)]
    for name in (*names, "a.txt"):
        upload(alice, "b", name, b"Apples are red.")
    make(alice, "b", knowledge=sources(*names, "a.txt"))
    monkeypatch.setattr(chunking, "cut", lambda *_, **__: 1 / 0)
    syncs.run()
    reason = read(alice, "b")["syncStatusReason"]
    assert reason.startswith(f"a.txt: {documents.FAULT}")
    assert reason.endswith(" more.")  # not all of them fit
    assert subjects() == ["b"]


@pytest.mark.parametrize(
    "sentence",
    [
        documents.FAULT,
        listing.FAULT,
        page_texts.FAULT,
        upkeep.FAULT,
        faults.WORKER_LOST,
        "Titan has refused every call for an hour (ThrottlingException).",
        f"{s3_folders.ANSWERED} AccessDenied.",
        s3_folders.NO_BUCKET,
    ],
)
def test_each_sentence_of_such_a_fault_is_known(alice: APIClient, sentence: str) -> None:
    make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
    knowledge = rows.known("b", state=SyncStatus.FAILED, reason=f"https://x.example/: {sentence} And 3 more.")
    assert faults.is_of_operators(sentence)
    assert subjects() == ["b"]
    Knowledge.objects.filter(pk=knowledge.pk).update(sync_status=SyncStatus.QUEUED)
    assert subjects() == []
    Knowledge.objects.filter(pk=knowledge.pk).update(sync_status=SyncStatus.FAILED, bot=None)
    assert subjects() == []
    source = rows.source(knowledge, SourceKind.WEB, "https://y.example/", reason=sentence)
    assert status.outcome(knowledge, "")[0] == SyncStatus.FAILED
    assert source.reason == sentence


def test_a_look_reads_failed_rows_alone(alice: APIClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        assert subjects() == []
    failed = Knowledge.objects.filter(sync_status=SyncStatus.FAILED, bot__isnull=False)
    plan = failed.filter(faults.are_of_operators("sync_status_reason")).order_by("pk").explain()
    if connection.vendor == "sqlite":
        assert "knowledge_not_synced" in plan
    assert Bot.objects.count() == 0

"""Operators hear of syncs that failed by this server, the model or S3, and not of what a bot's owner got wrong."""

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, transaction
from rest_framework.test import APIClient

from bedrock_chat.alerts import opening
from bedrock_chat.alerts.models import OpenAlert
from bedrock_chat.blobs import s3_folders
from bots import alerting
from bots.knowledge import chunking, documents, faults, measuring, revisions, status
from bots.knowledge.models import Document, Knowledge, SourceKind
from bots.knowledge.states import Blame
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
    assert Knowledge.objects.get().blame == Blame.OWNER
    blames = dict(Document.objects.values_list("name", "blame"))
    assert blames == {
        "old.doc": Blame.OWNER,
        "torn.pdf": Blame.SOURCE,
        "gone": Blame.SOURCE,
        "closed": Blame.SOURCE,
        "10.0.0.1": Blame.OWNER,
    }


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


def test_a_file_or_a_site_that_is_named_like_a_sentence_of_operators_alerts_nobody(
    alice: APIClient, emulator: Emulator
) -> None:
    name = "S3 cannot be reached. Bedrock refuses access to all because of a fault of this server..doc"
    upload(alice, "b", name, b"x")
    make(alice, "b", knowledge=sources(name))
    syncs.run()
    assert read(alice, "b")["syncStatusReason"].startswith(name)
    assert Knowledge.objects.get().blame == Blame.OWNER
    assert subjects() == []


@pytest.mark.parametrize(
    ("limit", "blames", "blame"),
    [
        (Blame.OWNER, [Blame.SOURCE, Blame.OPERATOR], Blame.OPERATOR),
        (Blame.OPERATOR, [Blame.SOURCE], Blame.OPERATOR),
        (Blame.OWNER, [Blame.SOURCE], Blame.OWNER),
        (None, [Blame.SOURCE, Blame.OWNER], Blame.OWNER),
        (None, [Blame.SOURCE], Blame.SOURCE),
        (None, [], ""),
    ],
)
def test_of_several_faults_of_a_sync_the_operators_counts_and_then_the_owners(
    alice: APIClient, limit: Blame | None, blames: list[Blame], blame: str
) -> None:
    make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
    knowledge = rows.known("b")
    for number, one in enumerate(blames):
        rows.source(knowledge, SourceKind.WEB, f"https://y.example/{number}", reason="Why not.", blame=one)
    outcome = status.outcome(knowledge, "A limit." if limit else "", limit or Blame.OWNER)
    assert outcome.blame == blame
    assert (outcome.state == SyncStatus.FAILED) == bool(blame)


def test_what_a_document_alone_has_failed_by_is_its_source_s(alice: APIClient) -> None:
    make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
    knowledge = rows.known("b")
    source = rows.source(knowledge, SourceKind.WEB, "https://x.example/")
    rows.document(source, "https://x.example/", reason=faults.WORKER_LOST, blame=Blame.OPERATOR)
    assert status.outcome(knowledge, "").blame == Blame.OPERATOR


def test_only_the_syncs_of_bots_that_failed_by_operators_alert_and_each_failure_is_counted(alice: APIClient) -> None:
    for number, blame in enumerate(Blame):
        make(alice, f"b{number}", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
        rows.known(f"b{number}", state=SyncStatus.FAILED, reason="Why not.", blame=blame)
    assert subjects() == ["b0"]
    assert measuring.figures() == {measuring.FAILED: {("operator",): 1.0, ("owner",): 1.0, ("source",): 1.0}}
    Knowledge.objects.filter(bot="b0").update(sync_status=SyncStatus.QUEUED, blame="")
    assert subjects() == []
    assert measuring.figures()[measuring.FAILED][("operator",)] == 0.0
    Knowledge.objects.filter(bot="b0").update(sync_status=SyncStatus.FAILED, blame=Blame.OPERATOR, bot=None)
    assert subjects() == []


def alerts_after_a_look() -> list[OpenAlert]:
    """What is open about bots, once the periodic job has looked."""
    opening.look(SimpleNamespace(finish=lambda: None))  # type: ignore[arg-type]
    return list(OpenAlert.objects.filter(condition=alerting.CONDITION))


def test_an_alert_of_what_stays_away_stays_open_while_the_sync_is_tried_again(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(alice, "b", "a.txt", b"Apples are red.")
    make(alice, "b", knowledge=sources("a.txt"))
    cut = chunking.cut
    monkeypatch.setattr(chunking, "cut", lambda *_, **__: 1 / 0)
    syncs.run()
    [alert] = alerts_after_a_look()
    with transaction.atomic():
        revisions.request("b")
    assert [again.opened_at for again in alerts_after_a_look()] == [alert.opened_at]
    Knowledge.objects.update(sync_status=SyncStatus.RUNNING)
    assert [again.opened_at for again in alerts_after_a_look()] == [alert.opened_at]
    monkeypatch.setattr(chunking, "cut", cut)
    syncs.run()
    assert syncs.shown(alice)[0] == "SUCCEEDED"
    assert alerts_after_a_look() == []


def test_an_alert_about_a_guardrail_does_not_stay_open_for_a_sync_of_knowledge(alice: APIClient) -> None:
    make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
    assert (read(alice, "b")["syncStatus"], subjects()) == ("QUEUED", [])
    Bot.objects.update(sync_status=SyncStatus.FAILED)
    [alert] = alerts_after_a_look()
    assert "guardrail" in alert.sentence
    Bot.objects.update(sync_status=SyncStatus.SUCCEEDED)
    assert (read(alice, "b")["syncStatus"], subjects()) == ("QUEUED", [])


def test_the_database_refuses_a_failure_that_is_nobody_s_and_blame_for_none(alice: APIClient) -> None:
    make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
    knowledge = rows.known("b", state=SyncStatus.FAILED, reason="Why not.")
    source = rows.source(knowledge, SourceKind.WEB, "https://x.example/", reason="Why not.")
    document = rows.document(source, "https://x.example/")
    refused: list[tuple[Any, dict[str, str]]] = [
        (knowledge, {"blame": ""}),
        (knowledge, {"blame": "nobody"}),
        (knowledge, {"sync_status": SyncStatus.SUCCEEDED}),
        *((row, {"blame": ""}) for row in (source, document)),
        *((row, {"state": "ready", "reason": ""}) for row in (source, document)),
    ]
    for row, columns in refused:
        with pytest.raises(IntegrityError), transaction.atomic():
            type(row)._default_manager.filter(pk=row.pk).update(**columns)


def test_an_upgrade_tells_failures_of_before_by_their_sentences(alice: APIClient) -> None:
    make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
    knowledge = rows.known("b", state=SyncStatus.FAILED, reason=f"https://x.example/: {documents.FAULT}")
    source = rows.source(knowledge, SourceKind.WEB, "https://x.example/", reason=s3_folders.NO_BUCKET)
    other = rows.document(source, "https://x.example/")
    import_module("bots.migrations.0011_blame").fill_blame(apps, None)
    for row, blame in ((knowledge, Blame.OPERATOR), (source, Blame.OPERATOR), (other, Blame.SOURCE)):
        row.refresh_from_db()
        assert row.blame == blame


def test_a_look_reads_failed_rows_alone(alice: APIClient, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):
        assert subjects() == []
    failed = Knowledge.objects.filter(sync_status=SyncStatus.FAILED, blame=Blame.OPERATOR, bot__isnull=False)
    plan = failed.order_by("pk").explain()
    if connection.vendor == "sqlite":
        assert "knowledge_not_synced (blame=?)" in plan
    assert Bot.objects.count() == 0

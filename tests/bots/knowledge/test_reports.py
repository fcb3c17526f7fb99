"""How far a bot's knowledge is, over REST: for who may edit the bot, in pages, and in a constant number of queries."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.jobs.models import Job
from bots.knowledge.models import DocumentState, Knowledge, SourceKind
from bots.models import SyncStatus
from tests.bots.bot import KNOWLEDGE, body, make
from tests.bots.knowledge.rows import document, known, source
from tests.conversations.test_queries import statements

pytestmark = [pytest.mark.django_db, pytest.mark.both]

SITE = "https://x.example/docs/"
WEB = {**KNOWLEDGE, "sourceUrls": [SITE]}
NONE = {"waiting": 0, "read": 0, "ready": 0, "failed": 0, "skipped": 0}


@pytest.fixture
def library(alice: APIClient) -> Knowledge:
    """Alice's bot `b`, whose site has twelve pages, one of which could not be read, and whose sitemap failed."""
    make(alice, "b", knowledge={**WEB, "sitemapUrls": ["https://y.example/map.xml"]})
    knowledge = known(
        "b", state=SyncStatus.FAILED, reason="https://y.example/map.xml: answered 403.", sync_price=25_000_000
    )
    site = source(knowledge, SourceKind.WEB, SITE, skipped=4)
    source(knowledge, SourceKind.SITEMAP, "https://y.example/map.xml", reason="answered 403.")
    for number in range(11):
        document(site, f"{SITE}{number}", "One passage.", "Another one.", link=f"{SITE}{number}", tokens=7, pages=1)
    document(site, f"{SITE}closed")
    document(site, f"{SITE}gone", state=DocumentState.REMOVED)
    return knowledge


def test_the_report_tells_of_each_source_and_of_all_documents(alice: APIClient, library: Knowledge) -> None:
    report = body(alice.get("/bot/b/knowledge"))
    counts = {**NONE, "ready": 11, "failed": 1}
    assert report.pop("lastSyncTime") > 0
    assert report.pop("price") == pytest.approx(0.0025)
    assert report == {
        "syncStatus": "FAILED",
        "syncStatusReason": "https://y.example/map.xml: answered 403.",
        "embeddingsModel": "titan_v2",
        "chunks": 22,
        "documents": counts,
        "tokens": 77,
        "sources": [
            {
                "kind": "web",
                "location": SITE,
                "state": "listed",
                "reason": "",
                "documents": counts,
                "skipped": 4,
                "tokens": 77,
            },
            {
                "kind": "sitemap",
                "location": "https://y.example/map.xml",
                "state": "failed",
                "reason": "answered 403.",
                "documents": NONE,
                "skipped": 0,
                "tokens": 0,
            },
        ],
    }


def test_documents_come_in_pages_and_by_state(alice: APIClient, library: Knowledge) -> None:
    shown: list[dict[str, Any]] = []
    address = "/bot/b/knowledge/documents?limit=5"
    while address:
        answer = alice.get(address)
        shown += body(answer)
        link = answer.headers.get("Link", "")
        address = link[1:].partition(">")[0].partition("/bot/")[2]
        address = address and f"/bot/{address}"
    assert [entry["location"] for entry in shown] == [*(f"{SITE}{number}" for number in range(11)), f"{SITE}closed"]
    assert {key: value for key, value in shown[0].items() if key != "id"} == {
        "sourceKind": "web",
        "location": f"{SITE}0",
        "name": f"{SITE}0",
        "link": f"{SITE}0",
        "state": "ready",
        "reason": "",
        "pages": 1,
        "chunks": 2,
        "tokens": 7,
    }
    [failed] = body(alice.get("/bot/b/knowledge/documents?state=failed"))
    assert (failed["location"], failed["reason"], failed["chunks"]) == (f"{SITE}closed", "answered 403.", 0)
    for query in ("state=removed", "state=x", "limit=0", "cursor=x", "cursor=YWZ0ZXI6eA"):
        assert alice.get(f"/bot/b/knowledge/documents?{query}").status_code == 400, query


def test_a_bot_that_knows_nothing_has_an_empty_report_and_nothing_to_sync(alice: APIClient) -> None:
    make(alice, "b")
    report = body(alice.get("/bot/b/knowledge"))
    assert (report["syncStatus"], report["sources"], report["documents"]) == ("SUCCEEDED", [], NONE)
    assert body(alice.get("/bot/b/knowledge/documents")) == []
    refusal = alice.post("/bot/b/knowledge/sync", {}, format="json")
    assert (refusal.status_code, refusal.json()["detail"]) == (400, "The bot has no files or addresses that are read.")
    assert body(alice.post("/bot/b/knowledge/cancel"))["syncStatus"] == "SUCCEEDED"
    assert not AuditEntry.objects.filter(verb="cancel sync").exists()


def test_a_report_costs_as_much_with_many_sources_and_documents_as_with_few(
    alice: APIClient, library: Knowledge
) -> None:
    def cost(call: Callable[[], Any]) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert call().status_code == 200
        return len(statements(captured))

    alice.get("/bot/b/knowledge")  # the caller's row is there
    assert cost(lambda: alice.get("/bot/b/knowledge")) == 5  # caller; bot with its status; knowledge; counts; sources
    assert cost(lambda: alice.get("/bot/b/knowledge/documents")) == 4


# ---- Asking ---------------------------------------------------------------------------------------------------------


def test_an_editor_asks_for_a_sync_and_ends_it_and_the_audit_knows_who(
    alice: APIClient, carol: APIClient, library: Knowledge
) -> None:
    assert body(alice.post("/bot/b/knowledge/sync", {}, format="json"))["syncStatus"] == "QUEUED"
    assert Job.objects.filter(kind="sync knowledge").count() == 1
    assert body(carol.post("/bot/b/knowledge/sync", {"full": True}, format="json"))["syncStatus"] == "QUEUED"
    library.refresh_from_db()
    assert (library.full, library.wanted) == (True, 3)
    assert Job.objects.filter(kind="sync knowledge").count() == 1
    answer = body(alice.post("/bot/b/knowledge/cancel"))
    assert (answer["syncStatus"], answer["syncStatusReason"]) == ("FAILED", "Cancelled.")
    assert answer["chunks"] == 22  # what was read stays
    assert not Job.objects.filter(kind="sync knowledge").exists()
    entries = AuditEntry.objects.filter(verb__in=["sync knowledge", "cancel sync"]).order_by("pk")
    assert [(entry.verb, entry.values) for entry in entries] == [
        ("sync knowledge", {"full": False}),
        ("sync knowledge", {"full": True}),
        ("cancel sync", {}),
    ]
    assert alice.post("/bot/b/knowledge/sync", {"full": "x"}, format="json").status_code == 400


def test_while_a_sync_runs_another_request_is_answered_with_that_one(alice: APIClient) -> None:
    make(alice, "b", knowledge=WEB)
    knowledge = known("b", state=SyncStatus.RUNNING, reason="")
    assert body(alice.post("/bot/b/knowledge/sync", {}, format="json"))["syncStatus"] == "RUNNING"
    knowledge.refresh_from_db()
    assert knowledge.wanted == 1


def test_a_source_that_has_only_documents_that_failed_says_why(alice: APIClient, library: Knowledge) -> None:
    folder = source(library, SourceKind.S3, "s3://b/p/")
    document(folder, "s3://b/p/old.doc", reason="This type of file is not supported; save it as DOCX.")
    document(folder, "s3://b/p/older.doc", reason="It is damaged.")
    [folder_row] = [row for row in body(alice.get("/bot/b/knowledge"))["sources"] if row["kind"] == "s3"]
    assert (folder_row["state"], folder_row["reason"]) == (
        "failed",
        "This type of file is not supported; save it as DOCX.",
    )

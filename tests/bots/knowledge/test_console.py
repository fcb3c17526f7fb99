"""What bots know, in the console: operators see each sync and document, and may have a bot synced or stop that."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console import operators
from bedrock_chat.console.roles import Role
from bedrock_chat.identity.caller import Program
from bedrock_chat.jobs.models import Job
from bots.knowledge import revisions
from bots.knowledge.models import Document, DocumentState, Knowledge, SourceKind
from bots.models import SyncStatus
from tests.bots.bot import make
from tests.bots.knowledge import rows
from tests.console.operators import make_operator, make_viewer

pytestmark = [pytest.mark.django_db, pytest.mark.both]
SYNCS = "/console/bots/knowledge/"
DOCUMENTS = "/console/bots/document/"
SECRET_QUERY = "?token=secret"


@pytest.fixture
def vera() -> Client:
    """She may look at everything."""
    client = Client()
    client.force_login(make_viewer())
    return client


@pytest.fixture
def sam() -> Client:
    """An operator of the role support."""
    operator = make_operator("sam")
    operators.set_role(operator, Role.SUPPORT, actor=Program.command("create_operator"))
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def failed(alice: APIClient) -> Document:
    """Alice's bots `b` and `c` know a site each. Of `b` a page was found, and another one refused."""
    for bot_id in ("b", "c"):
        knowledge = {"sourceUrls": [f"https://{bot_id}.example/"], "sitemapUrls": [], "filenames": [], "s3Urls": []}
        make(alice, bot_id, knowledge=knowledge)
    of_c = rows.known("c")
    rows.document(rows.source(of_c, SourceKind.WEB, "https://c.example/"), "https://c.example/", "A passage of c.")
    of_b = rows.known("b", state=SyncStatus.FAILED, reason="https://b.example/x: answered 403.", sync_price=25 * 10**8)
    source = rows.source(of_b, SourceKind.WEB, "https://b.example/")
    rows.document(source, "https://b.example/", "A passage of b.", pages=3, tokens=1234)
    return rows.document(source, f"https://b.example/x{SECRET_QUERY}", name="")


def listed(client: Client, path: str) -> list[Any]:
    response = client.get(path)
    assert response.status_code == 200, path
    return [row.pk for row in response.context["cl"].result_list]


def test_a_sync_is_listed_with_its_status_its_reason_and_its_cost(vera: Client, failed: Document) -> None:
    page = vera.get(f"{SYNCS}?status=FAILED").content.decode()
    assert "https://b.example/x: answered 403." in page
    assert "$0.25" in page
    of_b = Knowledge.objects.get(bot="b")
    assert listed(vera, f"{SYNCS}?status=FAILED") == [of_b.pk]
    assert listed(vera, f"{SYNCS}?bot=c") == [Knowledge.objects.get(bot="c").pk]
    own = vera.get(f"{SYNCS}{of_b.pk}/change/").content.decode()
    assert f"{DOCUMENTS}?bot=b" in own


@pytest.mark.parametrize(
    ("query", "locations"),
    [
        ("", ["https://b.example/x?token=secret", "https://b.example/", "https://c.example/"]),
        ("state=failed", ["https://b.example/x?token=secret"]),
        ("state=ready&bot=b", ["https://b.example/"]),
        ("bot=c", ["https://c.example/"]),
        ("kind=s3", []),
    ],
)
def test_documents_are_filtered_by_state_source_and_bot(
    vera: Client, failed: Document, query: str, locations: list[str]
) -> None:
    keys = listed(vera, f"{DOCUMENTS}?{query}")
    by_key = Document.objects.in_bulk(keys)
    assert [by_key[key].location for key in keys] == locations


def test_neither_passages_nor_queries_of_addresses_are_shown_or_searched(vera: Client, failed: Document) -> None:
    pages = [
        vera.get(path).content.decode() for path in (DOCUMENTS, f"{DOCUMENTS}{failed.pk}/change/", SYNCS, "/console/")
    ]
    assert "https://b.example/x" in pages[0]
    assert "answered 403." in pages[1]
    for page in pages:
        assert "secret" not in page
        assert "A passage" not in page
    for refused in ("q=secret", "location__contains=secret", "link__startswith=https"):
        assert vera.get(f"{DOCUMENTS}?{refused}").status_code == 400, refused


def test_a_document_is_tried_again_by_a_sync_of_its_bot(sam: Client, failed: Document) -> None:
    answer = sam.post(f"{DOCUMENTS}{failed.pk}/retry/", {"confirmed": "yes"})
    assert answer.status_code == 302
    knowledge = Knowledge.objects.get(bot="b")
    assert knowledge.wanted == knowledge.done + 1
    assert Job.objects.filter(key=revisions.key_of(knowledge.pk)).exists()
    assert AuditEntry.objects.about("bot", "b").filter(verb="sync knowledge", actor_kind="operator").exists()


def test_a_document_that_is_found_is_not_tried_again(sam: Client, failed: Document) -> None:
    ready = Document.objects.filter(state=DocumentState.READY).earliest("pk")
    sam.post(f"{DOCUMENTS}{ready.pk}/retry/", {"confirmed": "yes"})
    assert not Job.objects.filter(kind=revisions.KIND).exists()


def test_a_sync_is_cancelled_and_asked_for_again(sam: Client, failed: Document) -> None:
    of_b = Knowledge.objects.get(bot="b")
    assert sam.post(f"{SYNCS}{of_b.pk}/sync/", {"confirmed": "yes"}).status_code == 302
    of_b.refresh_from_db()
    assert of_b.sync_status == SyncStatus.QUEUED
    assert sam.post(f"{SYNCS}{of_b.pk}/cancel/", {"confirmed": "yes"}).status_code == 302
    of_b.refresh_from_db()
    assert (of_b.sync_status, of_b.sync_status_reason) == (SyncStatus.FAILED, revisions.CANCELLED)
    assert not Job.objects.filter(kind=revisions.KIND).exists()


def test_who_may_only_look_changes_nothing(vera: Client, failed: Document) -> None:
    of_b = Knowledge.objects.get(bot="b")
    for path in (f"{DOCUMENTS}{failed.pk}/retry/", f"{SYNCS}{of_b.pk}/sync/", f"{SYNCS}{of_b.pk}/cancel/"):
        assert vera.post(path, {"confirmed": "yes"}).status_code == 403
    assert not Job.objects.filter(kind=revisions.KIND).exists()


def test_the_home_counts_syncs_and_says_what_embedding_cost(vera: Client, failed: Document) -> None:
    home = vera.get("/console/")
    [panel] = [shown.panel for shown in home.context["panels"] if shown.name == "knowledge"]
    assert [(figure.label, figure.text) for figure in panel.figures] == [
        ("Queued syncs", "0"),
        ("Running syncs", "0"),
        ("Failed syncs", "1"),
    ]
    assert panel.figures[2].link.endswith("?status=FAILED")
    assert not panel.has_rows


def test_lists_cost_as_many_statements_whatever_they_hold(
    vera: Client, failed: Document, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        rows.document(failed.source, f"https://b.example/{number}", "A passage.")
    for path in (DOCUMENTS, SYNCS):
        with django_assert_max_num_queries(8):
            vera.get(path)

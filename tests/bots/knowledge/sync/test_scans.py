"""Scanned files: read by the bot's parsing model, page by page, each paid once, and gone with the bot."""

import hashlib
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from bots.knowledge import parsing
from bots.knowledge.models import Document, PageText
from tests.bots.bot import edit, make, read
from tests.bots.knowledge import documents
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

BASE: dict[str, Any] = {
    "type": "dedicated",
    "embeddingsModel": "titan_v2",
    "openSearch": {"analyzer": None},
    "chunkingConfiguration": {"chunkingStrategy": "default"},
    "searchParams": {"maxResults": 20, "searchType": "hybrid"},
    "knowledgeBaseId": None,
    "existKnowledgeBaseId": None,
    "parsingModel": "anthropic.claude-3-haiku-v1",
    "webCrawlingScope": "DEFAULT",
    "webCrawlingFilters": {"includePatterns": [""], "excludePatterns": [""]},
}


def test_a_scan_is_read_by_the_parsing_model_and_each_page_is_paid_once(alice: APIClient, emulator: Emulator) -> None:
    upload(
        alice,
        "b",
        "scan.pdf",
        documents.pdf([None, "The second page has text of its own.", None], picture=True, size=(300, 300)),
    )
    without = {**BASE, "parsingModel": "disabled"}
    make(alice, "b", knowledge=sources("scan.pdf"), bedrockKnowledgeBase=without)
    syncs.run()
    assert syncs.texts() == ["The second page has text of its own."]
    assert not ModelCall.objects.filter(purpose="parsing").exists()

    emulator.queue({"text": "Thirty days of leave."}, {"fault": "ValidationException"})
    edit(alice, "b", knowledge=change(unchanged=["scan.pdf"]), bedrockKnowledgeBase=BASE)
    syncs.run()
    assert sorted(syncs.texts()) == ["The second page has text of its own.", "Thirty days of leave."]
    note = Document.objects.get().note
    assert note.startswith("Claude 3 Haiku could not read page ")
    calls = ModelCall.objects.filter(purpose="parsing")
    assert sorted(calls.values_list("model", "fault", "bot_id")) == [
        ("claude-v3-haiku", "", "b"),
        ("claude-v3-haiku", "ValidationException", "b"),
    ]

    emulator.reset()
    emulator.script(text="The third page.")
    response = alice.post("/bot/b/knowledge/sync", {"full": True}, format="json")
    assert response.status_code < 300
    syncs.run()
    assert sorted(syncs.texts()) == ["The second page has text of its own.", "The third page.", "Thirty days of leave."]
    assert calls.count() == 3, "what was read before is not paid again"
    assert Document.objects.get().note == ""

    assert alice.delete("/bot/b").status_code == 200
    syncs.run()
    assert not PageText.objects.exists()
    assert not Document.objects.exists()


def test_a_long_scan_that_the_model_refuses_is_asked_for_once_in_a_sync(
    alice: APIClient, emulator: Emulator, settings: Any
) -> None:
    settings.MODEL_RETRY_SECONDS = 0
    pages = parsing.PAGES_AT_ONCE + 1
    upload(alice, "b", "scan.pdf", documents.pdf([None] * pages, picture=True, size=(60, 60)))
    emulator.script(fault="ValidationException")
    settings.KNOWLEDGE_SLICE_SECONDS = 0.3
    make(alice, "b", knowledge=sources("scan.pdf"), bedrockKnowledgeBase=BASE)
    syncs.run()
    assert ModelCall.objects.filter(purpose="parsing").count() == pages
    assert sorted(PageText.objects.values_list("page", flat=True)) == list(range(1, pages + 1))
    assert f"could not read {pages} pages from page 1 on" in read(alice, "b")["syncStatusReason"]


def test_a_scan_of_which_no_page_can_be_read_says_so(alice: APIClient, emulator: Emulator, settings: Any) -> None:
    upload(alice, "b", "scan.pdf", documents.pdf([None, None], picture=True, size=(300, 300)))
    emulator.script(fault="AccessDeniedException")
    make(alice, "b", knowledge=sources("scan.pdf"), bedrockKnowledgeBase=BASE)
    syncs.run()
    bot = read(alice, "b")
    assert bot["syncStatus"] == "FAILED"
    assert (
        "scan.pdf: Claude 3 Haiku could not read 2 pages from page 1 on (AccessDeniedException)."
        in (bot["syncStatusReason"])
    )
    settings.GLOBAL_AVAILABLE_MODELS, settings.PARSING_MODEL = ["amazon-nova-pro"], "gpt-oss-20b"
    edit(
        alice,
        "b",
        title="Other",
        knowledge=change(unchanged=["scan.pdf"]),
        bedrockKnowledgeBase={**BASE, "parsingModel": "anthropic.claude-3-sonnet-v1"},
    )
    syncs.run()
    assert "cannot see pages." in read(alice, "b")["syncStatusReason"]


def test_what_was_read_of_a_scan_goes_with_its_removal_from_all_versions(alice: APIClient, emulator: Emulator) -> None:
    scan = documents.pdf([None, "The second page has text of its own."], picture=True, size=(300, 300))
    upload(alice, "b", "scan.pdf", scan)
    make(alice, "b", knowledge=sources("scan.pdf"), bedrockKnowledgeBase=BASE)
    emulator.script(text="Thirty days of leave.")
    syncs.run()
    assert PageText.objects.get().text == "Thirty days of leave."
    upload(alice, "b", "scan.pdf", documents.pdf(["There are forty days of leave."]))
    edit(alice, "b", knowledge=change(added=["scan.pdf"]))
    syncs.run()
    assert syncs.texts() == ["There are forty days of leave."]
    assert alice.delete(f"/bot/b/files/{hashlib.sha256(scan).hexdigest()}").status_code == 200
    assert not PageText.objects.exists()
    syncs.run()
    assert syncs.texts() == ["There are forty days of leave."]

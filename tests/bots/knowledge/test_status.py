"""What clients read of how far a bot is: its knowledge and its guardrail share one field."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.jobs.models import Job, Worker
from bots.knowledge import revisions, upkeep
from bots.knowledge.models import Knowledge, Source, SourceKind
from bots.knowledge.status import joined, name_of
from bots.models import Bot, SyncStatus
from tests.bots import upload
from tests.bots.bot import KNOWLEDGE, body, edit, make, read, share
from tests.bots.knowledge.rows import SUCCEEDED, document, known, source
from tests.bots.test_parts import BASE

pytestmark = [pytest.mark.django_db, pytest.mark.both]

WEB = {**KNOWLEDGE, "sourceUrls": ["https://x.example/"]}
FAILED = "https://x.example/: answered 403."


def status(client: APIClient, bot_id: str = "b") -> tuple[str, str]:
    bot = read(client, bot_id)
    return bot["syncStatus"], bot["syncStatusReason"]


def asked() -> int:
    return Job.objects.filter(kind=revisions.KIND).count()


@pytest.mark.parametrize(
    ("guardrail", "knowledge", "shown"),
    [
        (("SUCCEEDED", ""), ("SUCCEEDED", SUCCEEDED), ("SUCCEEDED", SUCCEEDED)),
        (("SUCCEEDED", ""), ("RUNNING", ""), ("RUNNING", "")),
        (("QUEUED", "The guardrail is being made."), ("RUNNING", ""), ("RUNNING", "The guardrail is being made.")),
        (
            ("QUEUED", "The guardrail is being made."),
            ("SUCCEEDED", SUCCEEDED),
            ("QUEUED", "The guardrail is being made."),
        ),
        (("FAILED", "No guardrail."), ("SUCCEEDED", SUCCEEDED), ("FAILED", "No guardrail.")),
        (("FAILED", "No guardrail."), ("FAILED", FAILED), ("FAILED", f"{FAILED} No guardrail.")),
    ],
)
def test_what_matters_more_shows_first_and_the_reasons_are_joined(
    alice: APIClient, bob: APIClient, guardrail: Any, knowledge: Any, shown: tuple[str, str]
) -> None:
    make(alice, "b", knowledge=WEB)
    share(alice, "b", "all")
    known("b", state=knowledge[0], reason=knowledge[1])
    Bot.objects.update(sync_status=guardrail[0], sync_status_reason=guardrail[1])
    assert status(alice) == shown
    assert [entry["syncStatus"] for entry in body(alice.get("/bot?kind=private&limit=5"))] == [shown[0]]
    assert body(bob.get("/bot/summary/b"))["syncStatus"] == shown[0]


def test_a_save_queues_a_sync_and_one_of_the_title_hides_no_failure(alice: APIClient) -> None:
    made = make(alice, "b", knowledge=WEB)
    assert (made["syncStatus"], made["syncStatusReason"], asked()) == ("QUEUED", "", 1)
    known("b", state=SyncStatus.FAILED, reason=FAILED)
    edit(alice, "b", title="Another", knowledge={**WEB, "addedFilenames": []})
    assert (status(alice), asked()) == (("FAILED", FAILED), 0)
    base = {**BASE, "searchParams": {"maxResults": 5, "searchType": "semantic"}, "webCrawlingScope": "DEFAULT"}
    base["webCrawlingFilters"] = {"excludePatterns": [], "includePatterns": []}
    base["chunkingConfiguration"] = {"chunkingStrategy": "default"}
    edit(alice, "b", bedrockKnowledgeBase=base)  # how it is searched, which builds nothing
    assert (status(alice), asked()) == (("FAILED", FAILED), 0)
    edit(alice, "b", knowledge={**WEB, "sitemapUrls": ["https://x.example/map.xml"]})
    assert (status(alice), asked()) == (("QUEUED", ""), 1)


def test_copies_imports_and_restored_versions_are_synced_as_any_save(alice: APIClient) -> None:
    upload.upload(alice, "b", "a.txt", b"Alice's text.")
    make(alice, "b", knowledge={**WEB, "filenames": ["a.txt"]})
    known("b")
    copy = body(alice.post("/bot/b/clone", {}, format="json"))
    assert (copy["syncStatus"], asked()) == ("QUEUED", 1)
    exported = body(alice.get("/bot/b/export"))
    assert [file["filename"] for file in exported["bot"]["files"]] == ["a.txt"]
    assert exported["bot"]["knowledge"]["sourceUrls"] == WEB["sourceUrls"]
    taken = body(alice.post("/bot/import", exported, format="json"))
    assert (taken["syncStatus"], asked()) == ("QUEUED", 2)
    edit(alice, "b", knowledge={**KNOWLEDGE, "unchangedFilenames": []})
    assert status(alice)[0] == "SUCCEEDED"
    assert body(alice.post("/bot/b/versions/1/restore"))["version"] == 3
    assert (status(alice)[0], asked()) == ("QUEUED", 3)


def test_files_beside_a_base_that_exists_are_not_read(alice: APIClient) -> None:
    base = {**BASE, "existKnowledgeBaseId": "A1A1A1A1A1"}
    made = make(alice, "b", knowledge=WEB, bedrockKnowledgeBase=base)
    assert not Knowledge.objects.exists()
    assert made["warnings"] == ["The bot's files and addresses are not read: it asks the knowledge base that it names."]
    assert alice.post("/bot/b/knowledge/sync", {}, format="json").status_code == 400


def test_a_bot_of_which_no_document_is_whole_says_that_nothing_is_indexed(alice: APIClient) -> None:
    sentence = "Nothing of the bot's files and addresses is indexed yet: it answers without them."
    assert make(alice, "b", knowledge=WEB)["warnings"] == [sentence]
    knowledge = known("b", state=SyncStatus.RUNNING, reason="")
    assert read(alice, "b")["warnings"] == [sentence]
    document(source(knowledge, SourceKind.WEB, "https://x.example/"), "https://x.example/", "A passage.")
    assert read(alice, "b")["warnings"] == []
    assert body(alice.get("/bot/summary/b"))["warnings"] == []


def test_a_sync_that_no_worker_will_begin_says_so(alice: APIClient) -> None:
    make(alice, "b", knowledge=WEB)
    assert status(alice) == ("QUEUED", "")
    Knowledge.objects.update(asked_at=timezone.now() - timedelta(seconds=31))
    assert status(alice) == ("QUEUED", "No worker is running.")
    now = timezone.now()
    Worker.objects.create(id="w", host="h", process=1, concurrency=8, started_at=now, seen_at=now)
    assert status(alice) == ("QUEUED", "")


def test_a_sync_whose_last_worker_has_gone_says_so(alice: APIClient) -> None:
    make(alice, "b", knowledge=WEB)
    past = timezone.now() - timedelta(seconds=31)
    Knowledge.objects.update(sync_status="RUNNING", asked_at=past, moved_at=timezone.now())
    assert status(alice) == ("RUNNING", "")
    Knowledge.objects.update(moved_at=past)
    assert status(alice) == ("RUNNING", "No worker is running.")


def test_a_reason_names_an_address_without_its_query_its_name_and_its_password() -> None:
    for location, name in (
        ("https://alice:secret@x.example/a?token=secret", "https://x.example/a"),
        ("https://x.example/@alice", "https://x.example/@alice"),
        ("https://x.example?q", "https://x.example"),
    ):
        assert name_of(Source(kind=SourceKind.WEB, location=location)) == name
    assert name_of(Source(kind=SourceKind.FILE, location="why?.pdf")) == "why?.pdf"


def test_of_a_deleted_bot_nothing_is_synced_any_more(alice: APIClient) -> None:
    make(alice, "b", knowledge=WEB)
    assert alice.delete("/bot/b").status_code == 200
    assert Knowledge.objects.get().bot_id is None
    assert asked() == 0
    assert Job.objects.filter(kind="purge knowledge").count() == 1


def test_bots_that_were_not_ingested_yet_are_synced_after_the_upgrade(alice: APIClient) -> None:
    """As the server before has left them: with sources, a status of their own, and no knowledge."""
    make(alice, "b", knowledge=WEB)
    make(alice, "plain")
    make(alice, "asking", knowledge=WEB, bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": "KB12345678"})
    Knowledge.objects.all().delete()
    Job.objects.all().delete()
    upgrade = import_module("bots.migrations.0007_knowledge")
    Bot.objects.filter(pk="b").update(sync_status="QUEUED", sync_status_reason=upgrade.NOT_INGESTED)
    upgrade.begin_knowledge(apps, None)
    assert list(Knowledge.objects.values_list("bot", "wanted", "done")) == [("b", 1, 0)]
    assert status(alice) == ("QUEUED", "")
    upkeep.look_after(None)  # type: ignore[arg-type]
    assert asked() == 1


def test_addresses_that_differ_in_their_queries_alone_fail_in_one_sentence() -> None:
    many = [f"http://a.example/{number}: answered 403." for number in range(100)]
    assert joined(["http://a.example/: answered 403."] * 50 + ["a.txt: this file is damaged."]) == (
        "http://a.example/: answered 403. a.txt: this file is damaged."
    )
    assert joined(many * 2).endswith(f"And {100 - joined(many).count('403')} more.")

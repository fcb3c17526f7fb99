r"""Names are shown without what nobody sees: `invoice\u202efdp.exe` is shown as PDF by whoever obeys the mark in it.

New files with such names are refused (tests/bots/test_files.py). A site and a bucket name theirs as they like, and some
bots have had theirs for long.
"""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from bots.knowledge import linking, status
from bots.knowledge.models import Document, Knowledge, SourceKind
from bots.knowledge.sources import crawling, s3, uploads
from bots.knowledge.sources.scope import Web
from bots.knowledge.states import Blame
from bots.models import SyncStatus
from tests.bots.bot import body, make, read
from tests.bots.knowledge import rows
from tests.bots.upload import sources, upload
from tests.console.operators import make_viewer

HIDDEN = "invoice\u202efdp\u200b.txt"
SEEN = "invoicefdp.txt"
PERSIAN = "نامه\u200cها.txt"
NOWHERE = Web.of((), "DEFAULT")


def test_a_new_document_has_the_name_that_is_seen_and_stays_the_one_of_its_place() -> None:
    for name, shown in ((HIDDEN, SEEN), (PERSIAN, PERSIAN), ("請求書\u3000三月.txt", "請求書 三月.txt")):
        of_file = uploads.location(name, {"sha256": "0" * 64, "size": 1})
        of_object = s3.location(f"s3://books/wiki/{name}")
        of_page = crawling.location(crawling.address_of(f"https://x.example/{name}"), NOWHERE, is_listed=True)
        assert [of_file.name, of_object.name, of_page.name] == [shown] * 3
        assert (of_file.location, of_object.location) == (f"file:{name}", f"s3://books/wiki/{name}")


@pytest.mark.both
@pytest.mark.django_db
def test_a_name_that_is_stored_is_cleaned_where_it_is_shown(alice: APIClient) -> None:
    upload(alice, "b", "old.txt", b"x")
    make(alice, "b", knowledge=sources("old.txt"))
    knowledge = rows.known("b", state=SyncStatus.FAILED, reason=f"{HIDDEN}: this file is damaged.")
    source = rows.source(knowledge, SourceKind.FILE, HIDDEN)
    document = rows.document(source, f"file:{HIDDEN}", "A passage.", name=HIDDEN, note="page 3 holds no text.")

    assert read(alice, "b")["syncStatusReason"] == f"{SEEN}: this file is damaged."
    [listed] = body(alice.get("/bot/b/knowledge/documents"))
    assert (listed["name"], listed["location"]) == (SEEN, f"file:{HIDDEN}")
    assert linking.places([document.pk], "b")[document.pk].source_name == SEEN
    assert status.outcome(knowledge, "")[:2] == (
        SyncStatus.SUCCEEDED,
        f"{status.SUCCEEDED}; {SEEN}: page 3 holds no text",
    )
    Document.objects.update(state="failed", reason="this file is damaged.", blame=Blame.SOURCE)
    assert status.outcome(knowledge, "")[:2] == (SyncStatus.FAILED, f"{SEEN}: this file is damaged.")

    vera = Client()
    vera.force_login(make_viewer())
    pages = ("knowledge/", f"knowledge/{Knowledge.objects.get().pk}/change/")
    pages += ("document/", f"document/{document.pk}/change/")
    for path in pages:
        page = vera.get(f"/console/bots/{path}").content.decode()
        assert SEEN in page
        assert "\u202e" not in page

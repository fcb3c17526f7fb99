"""The page of storage: what is stored for whom, what nobody needs any more, at a cost that does not grow."""

import hashlib
import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.blobs import figures
from bedrock_chat.blobs.figures import Amount
from bedrock_chat.blobs.models import Blob, BlobReference, BlobRemoval
from bots.models import Bot, BotFile, BotGuardrail
from tests.bots.bot import make
from tests.console.operators import make_operator, make_viewer

pytestmark = [pytest.mark.django_db, pytest.mark.both]
PAGE, GUARDRAILS = "/console/bedrock_chat/blob/", "/console/bots/botguardrail/"


@pytest.fixture
def vera(tmp_path: Any) -> Client:
    """She may look at everything."""
    client = Client()
    client.force_login(make_viewer())
    return client


def blobs(count: int, size: int, *owners: str, first: int = 0) -> None:
    names = [hashlib.sha256(str(first + number).encode()).hexdigest() for number in range(count)]
    Blob.objects.bulk_create([Blob(sha256=name, size=size) for name in names])
    for owner in owners:
        BlobReference.objects.bulk_create(
            [BlobReference(blob_id=name, owner_kind=owner, owner_id=number) for number, name in enumerate(names)]
        )


def rows(client: Client, heading: str) -> dict[str, list[str]]:
    """The table of a section: what its first cell says → the other cells."""
    page = client.get(PAGE).content.decode()
    [table] = re.findall(rf">{heading}</h2>(.*?)</section>", page, re.DOTALL)
    lines = re.findall(r"<tr>(<td.*?)</tr>", table, re.DOTALL)
    cells = [[re.sub(r"<[^>]*>|\xa0", " ", cell).strip() for cell in line.split("</td>")[:-1]] for line in lines]
    return {first: rest for first, *rest in cells}


def test_files_are_counted_by_whose_they_are_and_orphans_apart(vera: Client) -> None:
    blobs(3, 1000, "conversation")
    blobs(2, 500, "conversation", "bot file", first=10)
    blobs(4, 10, first=20)
    BlobRemoval.objects.create(name="ab/cd")
    shown = rows(vera, "Files")
    assert {name: cells[0] for name, cells in shown.items()} == {
        "All": "9",
        "Of a bot file": "2",
        "Of a conversation": "5",
        "Of nobody: orphaned": "4",
        "To be deleted from storage": "1",
    }


def test_of_many_files_a_sample_says_how_many_there_are(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "SAMPLE", 500)
    blobs(4_000, 1000, "conversation")
    blobs(1_000, 10, first=10_000)
    whole = figures.stored(figures.sample())
    assert whole.all.files == pytest.approx(5_000, rel=0.2)
    assert whole.unreferenced.files == pytest.approx(1_000, rel=0.3)
    assert whole.by_kind["conversation"].bytes == pytest.approx(4_000_000, rel=0.2)
    assert rows(vera, "Files")["All"][0].startswith("about ")


def test_a_sample_that_is_the_whole_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "SAMPLE", 10)
    blobs(9, 7)
    assert figures.stored(figures.sample()).all == Amount(9, 63)
    assert not figures.sample().is_estimate


def test_the_bots_with_most_files_are_named(vera: Client, client_of: Any, settings: LazySettings) -> None:
    alice: APIClient = client_of("alice", "CreatingBotAllowed")
    for bot_id, size in (("small", 10), ("large", 3_000_000)):
        make(alice, bot_id, title=f"<{bot_id}>")
        digest = hashlib.sha256(bot_id.encode()).hexdigest()
        BotFile.objects.create(bot_id=bot_id, sha256=digest, size=size)
    shown = rows(vera, "Files of bots")
    assert list(shown) == ["&lt;large&gt;", "&lt;small&gt;"]
    assert shown["&lt;large&gt;"][0] == "1"


def test_uploads_that_wait_are_counted(vera: Client) -> None:
    name = "uploads/0000-of-this-test"
    before = figures.waiting()
    default_storage.save(name, ContentFile(b"12345"))
    try:
        after = figures.waiting()
        assert (after.files, after.bytes) == (before.files + 1, before.bytes + 5)
        assert rows(vera, "Uploads that wait")["For bots that are not saved yet"][0] == str(after.files)
    finally:
        default_storage.delete(name)


def test_guardrails_are_listed_by_what_is_the_matter_with_them(vera: Client, client_of: Any) -> None:
    alice: APIClient = client_of("alice", "CreatingBotAllowed")
    for bot_id in ("used", "made", "unused"):
        make(alice, bot_id)
    arn = "arn:aws:bedrock:us-east-1:123456789012:guardrail/{}"
    filters = {"HATE": "LOW"}
    BotGuardrail.objects.create(bot_id="used", arn=arn.format("a"), version="1", filters=filters)
    BotGuardrail.objects.create(bot_id="made", is_asked_for=True)
    BotGuardrail.objects.create(
        bot_id="unused", arn=arn.format("c"), version="1", filters=filters, unused_since=timezone.now()
    )
    BotGuardrail.objects.create(bot_id="gone", arn=arn.format("d"), version="1", filters=filters)
    shown = rows(vera, "Guardrails in Bedrock")
    assert {label: cells[0] for label, cells in shown.items()} == {
        "In use": "1",
        "Being made": "1",
        "No longer wanted": "1",
        "Of bots that are gone": "1",
    }
    for state, bot_id in (("used", "used"), ("made", "made"), ("unused", "unused"), ("orphaned", "gone")):
        listed = vera.get(f"{GUARDRAILS}?state={state}").context["cl"].result_list
        assert [row.pk for row in listed] == [bot_id]
    assert arn.format("a") in vera.get(f"{GUARDRAILS}used/change/").content.decode()


def test_each_permission_shows_its_own_part(vera: Client) -> None:
    ines = Client()
    ines.force_login(make_operator("ines", "view_blob"))
    shown = ines.get(PAGE).content.decode()
    assert "Uploads that wait" in shown
    assert "Files of bots" not in shown
    assert "Guardrails in Bedrock" not in shown
    udo = Client()
    udo.force_login(make_operator("udo", "view_bot"))
    assert udo.get(PAGE).status_code == 403


def test_nothing_is_measured_for_who_may_not_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    client.force_login(make_operator("otto", "view_job"))
    monkeypatch.setattr("bedrock_chat.blobs.figures.sample", lambda: pytest.fail("it is measured"))
    assert client.get(PAGE).status_code == 403


def test_the_page_costs_the_same_however_much_there_is(vera: Client) -> None:
    def queries() -> int:
        vera.get(PAGE)
        with CaptureQueriesContext(connection) as captured:
            assert vera.get(PAGE).status_code == 200
        return len(captured)

    blobs(1, 1, "conversation", "bot file")
    before = queries()
    blobs(200, 1, "conversation", "bot file", first=10)
    assert queries() == before
    assert before <= 25
    assert Bot.objects.count() == 0

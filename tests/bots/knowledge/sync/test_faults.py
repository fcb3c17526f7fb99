"""A fault of this server fails one document, and neither the others nor what is found; what is away is waited for."""

import logging
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from bedrock_chat.blobs.s3_storage import StorageUnavailable
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bedrock_chat.search.vectors import purging
from bots.knowledge import batches, chunking, documents, editions, hosts, listing, revisions, status
from bots.knowledge.away import STORAGE_AWAY
from bots.knowledge.models import Document, Edition, EditionState
from bots.knowledge.sources import pace, sitemaps, uploads
from tests.bots.bot import KNOWLEDGE, edit, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import Site, again, page
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]


def test_a_document_that_cannot_be_cut_fails_alone_and_the_log_does_not_quote_it(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upload(alice, "b", "a.txt", b"Apples are red.")
    upload(alice, "b", "b.txt", b"Bananas are yellow.")
    make(alice, "b", knowledge=sources("a.txt", "b.txt"))
    cut = chunking.cut

    def broken(reading: Any, *args: Any, **options: Any) -> Any:
        if "Apples" in reading.pages[0].text:
            raise IndexError(reading.pages[0].text)
        return cut(reading, *args, **options)

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(chunking, "cut", broken)
        syncs.run()
    assert syncs.texts() == ["Bananas are yellow."]
    assert syncs.states() == {"file:a.txt": "failed", "file:b.txt": "ready"}
    assert documents.FAULT in read(alice, "b")["syncStatusReason"]
    assert "IndexError at broken:" in caplog.text
    assert "Apples" not in caplog.text
    again()
    assert syncs.texts() == ["Apples are red.", "Bananas are yellow."]
    assert read(alice, "b")["syncStatusReason"] == status.SUCCEEDED


def test_a_document_whose_rows_cannot_be_written_fails_alone(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(alice, "b", "a.txt", b"Apples are red.")
    upload(alice, "b", "b.txt", b"Bananas are yellow.")
    make(alice, "b", knowledge=sources("a.txt", "b.txt"))
    keep = editions.keep

    def broken(slice_: Any, document: Document, **columns: Any) -> Any:
        if document.name == "a.txt":
            raise ValueError(document.location)
        return keep(slice_, document, **columns)

    monkeypatch.setattr(editions, "keep", broken)
    syncs.run()
    assert syncs.texts() == ["Bananas are yellow."]
    assert syncs.states() == {"file:a.txt": "failed", "file:b.txt": "ready"}


def test_a_text_that_was_cut_into_fewer_chunks_since_is_begun_anew(alice: APIClient, emulator: Emulator) -> None:
    upload(alice, "b", "a.txt", b"Apples are red.")
    make(alice, "b", knowledge=sources("a.txt"))
    syncs.run()
    Edition.objects.update(state=EditionState.MAKING, taken=2)  # as another version of the server has left it
    again()
    assert syncs.texts() == ["Apples are red."]
    assert read(alice, "b")["syncStatusReason"] == status.SUCCEEDED


def test_a_page_whose_kept_text_is_lost_is_read_anew_and_waits_for_a_storage_that_is_away(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site({"/d/": page("Start", "Old words stand here.")}) as site:
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/d/"]})
        syncs.run()

        def lost(name: str) -> Any:
            raise FileNotFoundError(name)

        def away(name: str) -> Any:
            raise StorageUnavailable

        monkeypatch.setattr(editions, "load", lost)
        again()
        assert read(alice, "b")["syncStatusReason"] == status.SUCCEEDED
        assert "Old words" in " ".join(syncs.texts())
        requests = site.requests["/d/"]
        monkeypatch.setattr(editions, "load", away)
        again()
        assert (read(alice, "b")["syncStatus"], site.requests["/d/"]) == ("RUNNING", requests)
        assert read(alice, "b")["syncStatusReason"] == STORAGE_AWAY
        assert Document.objects.values_list("attempts", "failures").get() == (0, 0)


def test_a_changed_page_whose_sync_is_cut_off_is_found_after_the_next(
    alice: APIClient, emulator: Emulator, settings: Any
) -> None:
    with Site({"/d/": page("Start", "Old words stand here.")}) as site:
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/d/"]})
        syncs.run()
        site.pages["/d/"] = page("Start", "New words stand here.")
        settings.KNOWLEDGE_SYNC_MAX_COST = Decimal(0)
        again()
        Document.objects.update(state="ready")  # as syncs have left it that took the old text for the last one
        settings.KNOWLEDGE_SYNC_MAX_COST = Decimal(5)
        again()
    assert "New words" in " ".join(syncs.texts())
    assert read(alice, "b")["syncStatusReason"] == status.SUCCEEDED


def test_a_place_at_a_host_is_given_back_whatever_happens(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def ended(*_: Any) -> Any:
        raise Ended

    taken, left = [], []
    begin, give_back = hosts.Hosts.begin, pace.give_place_back
    monkeypatch.setattr(hosts.Hosts, "begin", lambda *args: taken.append(args[1]) or begin(*args))
    monkeypatch.setattr(pace, "give_place_back", lambda host: left.append(host) or give_back(host))
    with Site({"/d/": page("Start", "Old words stand here.")}) as site:
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/d/"]})
        monkeypatch.setattr(documents, "rows", ended)
        with pytest.raises(Ended):
            syncs.run()
    assert len(taken) == len(left) == 1


def test_a_vector_that_is_purged_is_paid_once_more(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(alice, "b", "a.txt", b"Number one.")
    upload(alice, "b", "b.txt", b"Number two.")
    make(alice, "b", knowledge=sources("a.txt", "b.txt"))
    syncs.run()
    edition = Edition.objects.get(document__name="a.txt")
    edit(alice, "b", knowledge=change(deleted=["a.txt"], unchanged=["b.txt"]))
    syncs.run(revisions.KIND)
    with transaction.atomic():
        purging.purge(edition.index_id, [edition.pk])  # so far has the removal come; the chunks are still there
    upload(alice, "b", "a.txt", b"Number one.")
    edit(alice, "b", knowledge=change(added=["a.txt"], unchanged=["b.txt"]))
    known, rounds = batches._known, []
    monkeypatch.setattr(batches, "_known", lambda *args: rounds.append(1) or known(*args))
    [job] = syncs.claim(revisions.KIND)
    syncs.HANDLERS[job.kind](job)
    assert len(rounds) == 1
    assert syncs.texts() == ["Number one.", "Number two."]


def test_a_list_that_cannot_be_read_fails_its_source_alone_and_files_wait_for_their_storage(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise IndexError

    def away(*_: Any) -> Any:
        raise StorageUnavailable

    upload(alice, "b", "a.txt", b"Apples are red.")
    knowledge = {**sources("a.txt"), "sitemapUrls": ["http://127.0.0.1:9/sitemap.xml"]}
    make(alice, "b", knowledge=knowledge)
    monkeypatch.setattr(sitemaps, "listed", broken)
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "_copied", away)
        syncs.run()
        assert read(alice, "b")["syncStatusReason"] == STORAGE_AWAY
        assert syncs.states() == {"file:a.txt": "waiting"}
    Job.objects.update(due_at=database_now())
    syncs.run()
    assert syncs.texts() == ["Apples are red."]
    assert listing.FAULT in read(alice, "b")["syncStatusReason"]

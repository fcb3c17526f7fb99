"""Attempts at documents and what they cost: one that ends workers fails alone, and what is as it was costs little."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bots.knowledge import documents, faults, outcomes, revisions, status
from bots.knowledge.attempts import Attempts
from bots.knowledge.models import Document
from bots.knowledge.sources import fetching
from tests.bots.bot import KNOWLEDGE, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import Killed, Site, page
from tests.bots.upload import sources, upload
from tests.emulator import Emulator
from tests.outbound.servers import Names

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]

PAGES = 16
MOST_STATEMENTS = 3
"""Of a page that is as it was: a turn of its host, and its part of transactions for several."""
STATEMENTS_OF_A_SYNC = 75
"""Whatever it has to look at, its first page among them."""


def later() -> None:
    """Runs the slices that were to begin a little later."""
    Job.objects.filter(kind=revisions.KIND).update(due_at=database_now(), attempt=0)
    syncs.run()


def crawl(client: APIClient, *seeds: str, **fields: Any) -> None:
    make(client, "b", knowledge={**KNOWLEDGE, "sourceUrls": list(seeds), **fields})


def test_a_page_that_has_not_changed_costs_few_statements(alice: APIClient, emulator: Emulator) -> None:
    """Half of the site's pages have an ETag, the others are told by their bytes."""
    links = [f"/d/{number}" for number in range(PAGES)]
    pages: dict[str, Any] = {"/d/": page("Start", "All begins here.", *links)}
    for number, link in enumerate(links):
        body = page(f"Page {number}", f"Number {number} is written here.", *links)
        pages[link] = body if number % 2 else (200, {"ETag": ""}, body)
    with Site(pages) as site:
        crawl(alice, f"{site.url}/d/")
        syncs.run()
        assert syncs.embedded(emulator) > 0
        fetched = site.requests.copy()
        with transaction.atomic():
            revisions.request("b")
        with CaptureQueriesContext(connection) as statements:
            syncs.run(revisions.KIND)
    assert set(syncs.states().values()) == {"ready"}
    assert all(site.requests[link] == fetched[link] + 1 for link in pages)
    assert sum(site.unchanged.values()) == PAGES // 2 + 1
    assert syncs.embedded(emulator) == 0
    assert len(statements) <= STATEMENTS_OF_A_SYNC + MOST_STATEMENTS * PAGES
    assert read(alice, "b")["syncStatusReason"] == status.SUCCEEDED
    assert not Document.objects.exclude(attempts=0).exists()


def test_a_document_that_ends_its_workers_fails_alone(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number:02}.txt" for number in range(12)]
    for name in names:
        upload(alice, "b", name, f"What {name} says.".encode())
    make(alice, "b", knowledge=sources(*names))
    fetch, killed = fetching.fetch, []

    def fatal(location: Any, *arguments: Any) -> Any:
        if location.name == names[2]:
            killed.append(location.name)
            raise Killed
        return fetch(location, *arguments)

    def dead(execute: Any, *arguments: Any) -> Any:
        """A process that is gone writes nothing, not even that it has ended."""
        if killed:
            raise Killed
        return execute(*arguments)

    monkeypatch.setattr(fetching, "fetch", fatal)
    for number in range(3):
        Job.objects.filter(kind=revisions.KIND).update(due_at=database_now(), attempt=0)
        with connection.execute_wrapper(dead), pytest.raises(Killed):
            syncs.run(revisions.KIND)
        killed.clear()
        assert Document.objects.get(name=names[2]).attempts == number + 1
    later()
    assert killed == []
    assert dict(Document.objects.order_by("pk").values_list("name", "reason")) == {
        name: faults.WORKER_LOST if name == names[2] else "" for name in names
    }
    assert [state for name, state in syncs.states().items() if names[2] not in name] == ["ready"] * 11
    assert read(alice, "b")["syncStatusReason"] == f"{names[2]}: {faults.WORKER_LOST}"
    assert not Document.objects.exclude(attempts=0).exists()


@contextmanager
def deep_site(client: APIClient, *links: str) -> Iterator[Site]:
    """A crawl of a site whose sitemap names a page, from which alone another one is reached. `links`: of its start."""
    pages = {
        "/d/": page("Start", "All begins here.", *links),
        "/d/deep": page("Deep", "This is deep.", "/d/only"),
        "/d/only": page("Only", "Nothing else leads here."),
    }
    with Site(pages) as site:
        site.pages["/map.xml"] = f"<urlset><url><loc>{site.url}/d/deep</loc></url></urlset>"
        crawl(client, f"{site.url}/d/", sitemapUrls=[f"{site.url}/map.xml"])
        syncs.run()
        yield site


def ready(site: Site, *paths: str) -> dict[str, str]:
    return {f"{site.url}{path}": "ready" for path in paths}


def waits_for(monkeypatch: pytest.MonkeyPatch, path: str, event: threading.Event) -> None:
    """Has the fetch of a page begin once something has happened."""
    fetch = fetching.fetch

    def late(location: Any, *arguments: Any) -> Any:
        if location.location.endswith(path):
            assert event.wait(30)
        return fetch(location, *arguments)

    monkeypatch.setattr(fetching, "fetch", late)


def test_a_page_whose_links_count_since_it_was_begun_is_fetched_once_more(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sitemap has named it, so that its links are not followed; while it is fetched, a page of a seed leads to it."""
    is_reached = threading.Event()
    write = outcomes.write

    def noted(slice_: Any, document: Document, *arguments: Any) -> Any:
        state = write(slice_, document, *arguments)
        if document.location.endswith("/d/"):
            is_reached.set()
        return state

    waits_for(monkeypatch, "/d/deep", is_reached)
    monkeypatch.setattr(documents.outcomes, "write", noted)
    with deep_site(alice, "/d/deep") as site:
        later()
        assert syncs.states() == ready(site, "/d/", "/d/deep", "/d/only")


def test_a_page_whose_links_count_since_it_was_seen_to_be_unchanged_is_fetched_once_more(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before; but when the seed's page leads to it, it was answered 304, which is not written yet."""
    is_noted = threading.Event()
    note = Attempts.note_unchanged

    def noted(attempts: Attempts, attempt: Any, links: Any) -> None:
        note(attempts, attempt, links)
        is_noted.set()

    with deep_site(alice) as site:
        assert syncs.states() == ready(site, "/d/", "/d/deep")
        site.pages["/d/"] = page("Start", "All begins here.", "/d/deep")
        waits_for(monkeypatch, "/d/", is_noted)
        monkeypatch.setattr(Attempts, "note_unchanged", noted)
        with transaction.atomic():
            revisions.request("b")
        syncs.run()
        later()
        assert is_noted.is_set()
        assert syncs.states() == ready(site, "/d/", "/d/deep", "/d/only")


def test_a_host_that_is_to_be_left_alone_holds_up_no_other_one(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()
    monkeypatch.setattr("socket.getaddrinfo", names.getaddrinfo)
    names["slow.test"] = names["fast.test"] = [["127.0.0.1"]]
    refused = (503, {"Retry-After": "120"}, b"")
    pages = {
        "/s/": page("Slow", "This one has many pages.", *(f"/s/{number}" for number in range(8))),
        **{f"/s/{number}": refused for number in range(8)},
        "/f/": page("Fast", "It begins here.", "/f/1"),
        **{f"/f/{number}": page(f"F{number}", f"Page {number}.", f"/f/{number + 1}") for number in range(1, 5)},
        "/f/5": page("F5", "It ends here."),
    }
    with Site(pages) as site:
        crawl(alice, f"http://slow.test:{site.port}/s/", f"http://fast.test:{site.port}/f/")
        syncs.run()
    assert read(alice, "b")["syncStatus"] == "RUNNING"
    assert "slow.test allows no more pages for now" in read(alice, "b")["syncStatusReason"]
    assert syncs.states()[f"http://fast.test:{site.port}/f/5"] == "ready"
    assert not Document.objects.exclude(attempts=0).exists()

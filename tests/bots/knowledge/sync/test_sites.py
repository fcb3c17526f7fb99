"""Sites, sitemaps and folders: what is reached is found, what is gone goes, and what is unchanged costs nothing."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bots.knowledge import reaching, revisions
from bots.knowledge.models import CrawlHost, Document
from bots.knowledge.sources import pace
from tests.bots.bot import KNOWLEDGE, body, edit, make
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import Site, again, page, shown
from tests.bots.test_parts import BASE
from tests.emulator import Emulator
from tests.outbound.servers import Names

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]


def pages() -> dict[str, Any]:
    return {
        "/docs/": page("Start", "The handbook begins here.", "/docs/leave", "/docs/travel", "/private", "/docs/gone"),
        "/docs/leave": page("Leave", "There are thirty days of leave."),
        "/docs/travel": page("Travel", "Trains are booked in second class.", "/docs/hotels"),
        "/docs/hotels": page("Hotels", "A hotel may cost a hundred euros."),
        "/private": page("Private", "Nobody is to read this."),
    }


def test_a_site_is_crawled_within_its_scope_and_again_without_cost(alice: APIClient, emulator: Emulator) -> None:
    with Site(pages()) as site:
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/docs/"]})
        syncs.run()
        assert shown(alice) == ("SUCCEEDED", "Knowledge base sync succeeded")
        readable = " ".join(syncs.texts())
        assert all(words in readable for words in ("thirty days", "second class", "hundred euros"))
        assert "Nobody" not in readable
        assert site.requests["/private"] == 0
        syncs.embedded(emulator)

        again()
        assert syncs.embedded(emulator) == 0
        assert site.unchanged["/docs/hotels"] == 1

        site.pages["/docs/leave"] = page("Leave", "There are forty days of leave.")
        site.pages["/docs/"] = page("Start", "The handbook begins here.", "/docs/leave")
        again()
        readable = " ".join(syncs.texts())
        assert "forty days" in readable
        assert "thirty days" not in readable
        assert "second class" not in readable  # no page leads there any more
        assert syncs.embedded(emulator) <= 2


@pytest.mark.slow
def test_a_page_that_fails_stays_for_three_syncs(alice: APIClient, emulator: Emulator) -> None:
    with Site(pages()) as site:
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/docs/"]})
        syncs.run()
        site.pages["/docs/travel"] = (500, {}, b"")
        for _ in range(2):
            again()
            assert shown(alice) == (
                "SUCCEEDED",
                "Knowledge base sync succeeded; 1 of 4 pages could not be read",
            )
            assert "second class" in " ".join(syncs.texts())
            assert "hundred euros" in " ".join(syncs.texts())  # what it led to before counts
        again()
        assert "second class" not in " ".join(syncs.texts())
        site.pages["/docs/"] = (404, {}, b"")
        for _ in range(3):  # nobody knows whether it would still lead to the others
            again()
        assert shown(alice) == ("FAILED", f"{site.url}/docs/: answered 404.")


def test_pages_of_a_sitemap_are_found_and_those_of_two_sources_once(alice: APIClient, emulator: Emulator) -> None:
    with Site(pages()) as site:
        listed = "".join(f"<url><loc>{site.url}{path}</loc></url>" for path in ("/private", "/docs/leave"))
        site.pages["/sitemap.xml"] = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{listed}</urlset>'
        seeds = {"sourceUrls": [f"{site.url}/docs/"], "sitemapUrls": [f"{site.url}/sitemap.xml"]}
        make(alice, "b", knowledge={**KNOWLEDGE, **seeds})
        syncs.run()
        Job.objects.update(due_at=database_now())  # the next slice fetches a page that was listed before it was linked
        syncs.run()
        assert shown(alice)[0] == "SUCCEEDED"
        assert sum("thirty days" in text for text in syncs.texts()) == 1
        assert "Nobody" in " ".join(syncs.texts())

        sent = {**KNOWLEDGE, "sourceUrls": [], "sitemapUrls": [f"{site.url}/sitemap.xml"]}
        edit(alice, "b", knowledge=sent)
        syncs.run()
        readable = " ".join(syncs.texts())
        assert "thirty days" in readable
        assert "second class" not in readable


def test_seeds_that_are_one_address_or_lead_into_another_one_yield_what_is_found_there(
    alice: APIClient, emulator: Emulator
) -> None:
    with Site(pages() | {"/old": (302, {"Location": "/docs/leave"}, b"")}) as site:
        seeds = [f"{site.url}{path}" for path in ("/docs/", "/docs/?utm_source=x", "/DOCS/../docs/#part", "/old")]
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": seeds})
        syncs.run()
        assert shown(alice) == ("SUCCEEDED", "Knowledge base sync succeeded")
        assert sum("thirty days" in text for text in syncs.texts()) == 1

        # The archive is read for its links alone, which the first seed covers, too; the last seed has none of its own.
        site.pages |= {
            "/docs/archive/": page("Archive", "See below.", "/docs/archive/leave"),
            "/docs/archive/leave": page("Leave of before", "There were twenty days of leave."),
            "/else/": page("Elsewhere", "Nothing is here.", "/docs/"),
        }
        filters = {"includePatterns": ["leave"], "excludePatterns": []}
        base = {**BASE, "webCrawlingScope": "DEFAULT", "webCrawlingFilters": filters}
        seeds = [f"{site.url}{path}" for path in ("/docs/", "/docs/archive/", "/else/")]
        edit(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": seeds}, bedrockKnowledgeBase=base)
        syncs.run()
        assert "twenty days" in " ".join(syncs.texts())
        assert "twenty days" in " ".join(syncs.texts())
        assert shown(alice) == ("FAILED", f"{site.url}/else/: nothing there is of a type that is read.")


def test_a_sitemap_of_which_not_all_is_read_says_so_and_one_that_fails_later_fails_its_source(
    alice: APIClient, emulator: Emulator
) -> None:
    def index(kind: str, *paths: str) -> str:
        entries = "".join(f"<{kind}><loc>{site.url}{path}</loc></{kind}>" for path in paths)
        name = "urlset" if kind == "url" else "sitemapindex"
        return f'<{name} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</{name}>'

    with Site(pages()) as site:
        site.pages |= {
            "/map.xml": index("sitemap", "/a.xml", "/b.xml"),
            "/a.xml": index("url", "/docs/leave"),
            "/b.xml": (403, {}, b""),
        }
        make(alice, "b", knowledge={**KNOWLEDGE, "sitemapUrls": [f"{site.url}/map.xml"]})
        syncs.run()
        note = "A sitemap: answered 403."
        assert shown(alice) == (
            "SUCCEEDED",
            f"Knowledge base sync succeeded; {site.url}/map.xml: {note.removesuffix('.')}",
        )
        [source] = body(alice.get("/bot/b/knowledge"))["sources"]
        assert (source["state"], source["reason"]) == ("listed", note)
        site.pages["/map.xml"] = (500, {}, b"")
        again()
        assert shown(alice) == ("FAILED", f"{site.url}/map.xml: answered 500.")
        assert "thirty days" in " ".join(syncs.texts())  # it is found as it was, for three syncs


def test_a_long_list_is_written_in_short_transactions(alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "AT_ONCE", 2)
    with Site({}) as site:
        listed = "".join(f"<url><loc>{site.url}/listed-{number}</loc></url>" for number in range(5))
        site.pages["/sitemap.xml"] = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{listed}</urlset>'
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [], "sitemapUrls": [f"{site.url}/sitemap.xml"]})
        with CaptureQueriesContext(connection) as statements:
            syncs.run()
    transactions = "\n".join(statement["sql"] for statement in statements).split("COMMIT")
    inserts = [sql.partition('INSERT INTO "bots_document"')[2] for sql in transactions]
    rows = [len(set(re.findall(r"/listed-\d", sql.partition("\n")[0]))) for sql in inserts if sql]
    assert rows == [2, 2, 1]
    assert len(syncs.states()) == 5


def test_a_host_that_asks_for_a_pause_is_left_alone_and_the_sync_says_so(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "AT_A_TIME", 1)
    with Site(pages() | {"/docs/leave": (503, {"Retry-After": "120"}, b"")}) as site:
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/docs/"]})
        syncs.run()
        assert shown(alice)[0] == "RUNNING"
        assert "127.0.0.1 allows no more pages for now" in shown(alice)[1]
        assert CrawlHost.objects.get().next_at > database_now() + timedelta(seconds=100)  # for all bots and workers
        assert Job.objects.get(kind=revisions.KIND).due_at > database_now() + timedelta(seconds=100)
        assert [path for path in site.requests if path.startswith("/docs/")] == ["/docs/", "/docs/leave"]


def test_a_redirect_waits_for_a_turn_that_all_workers_share_and_its_document_for_a_host_that_is_busy(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages of one site lead to another, from which another worker's syncs have taken all turns for a while."""
    names = Names()
    monkeypatch.setattr("socket.getaddrinfo", names.getaddrinfo)
    names["there.test"] = [["127.0.0.1"]]
    with Site({"/d/new": page("New", "It has moved.")}) as there:
        moved = f"http://there.test:{there.url.rpartition(':')[2]}/d/new"
        with Site(
            {"/d/": page("Start", "All begins here.", "/d/old"), "/d/old": (302, {"Location": moved}, b"")}
        ) as site:
            pace.postpone("there.test", 600)
            make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/d/", moved]})
            syncs.run()
            assert shown(alice)[0] == "RUNNING"
            assert shown(alice)[1].startswith("there.test allows no more pages for now")
            assert (site.requests["/d/old"], there.requests) == (1, {})
            assert not Document.objects.exclude(attempts=0).exists()
            CrawlHost.objects.all().delete()
            Job.objects.filter(kind=revisions.KIND).update(due_at=database_now())
            syncs.run()
            assert shown(alice)[0] == "SUCCEEDED"
            assert there.requests["/d/new"] >= 1
            assert "It has moved." in " ".join(syncs.texts())

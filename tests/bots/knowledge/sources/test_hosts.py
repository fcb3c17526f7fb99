"""Every request takes a turn of its host before it is made: a page, its robots.txt, and where redirects lead to."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from bedrock_chat.process.interruption import Interruption
from bots.knowledge.hosts import MOST_TURNED_BACK, HostBusy, Hosts
from bots.knowledge.models import CrawlHost
from bots.knowledge.sources import crawling, fetching, pace, robots
from bots.knowledge.sources.locations import NOTHING_KNOWN, FetchContext, SourceFault
from tests.bots.knowledge.sources.site import Site, page, redirect
from tests.outbound.servers import Names

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]
SECONDS = 60.0


@pytest.fixture(autouse=True)
def _slow(settings: Any, local: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page a minute, for which no fetch of a test waits."""
    settings.CRAWL_PAGES_PER_MINUTE = 1
    monkeypatch.setattr(Interruption, "wait", lambda *_: False)


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def context(context: FetchContext, hosts: Hosts) -> FetchContext:
    """As a slice has it, but for the thread that asks the database."""
    return replace(context, turn=hosts.hop)


def taken(since: datetime, host: str = "127.0.0.1") -> int:
    """The turns of a host that were taken since then."""
    return int((CrawlHost.objects.get(pk=host).next_at - since) / timedelta(seconds=SECONDS))


def fetch(url: str, context: FetchContext) -> None:
    fetching.fetch(crawling.seed(url), NOTHING_KNOWN, context)


def test_a_site_whose_robots_txt_is_not_known_takes_two_turns_and_then_one(context: FetchContext) -> None:
    with Site({"/": page("x")}) as site:
        since = timezone.now()
        assert Hosts().begin(f"{site.url}/") is not None
        assert taken(since) == 2
        fetch(site.url, context)
        assert site.paths == ["/robots.txt", "/"]
        CrawlHost.objects.all().delete()
        since = timezone.now()
        assert Hosts().begin(f"{site.url}/") is not None
        assert taken(since) == 1
        for _ in range(2):
            pace.give_place_back("127.0.0.1")


def test_a_redirect_takes_turns_of_its_host_before_it_is_followed_and_so_does_its_robots_txt(
    context: FetchContext, names: Names
) -> None:
    names["there.test"] = [["127.0.0.1"]]
    since = timezone.now()
    pages: dict[str, Any] = {"/robots.txt": redirect("/rules"), "/": page("x"), "/again": redirect("/")}

    with Site(pages) as there:
        with Site({"/": redirect(f"http://there.test:{there.port}/")}) as site:
            fetch(site.url, context)
        assert there.paths == ["/robots.txt", "/rules", "/"]
        assert taken(since, "there.test") == 3
        fetch(f"http://there.test:{there.port}/again", context)
        assert taken(since, "there.test") == 4  # the first address has its turn from whoever asked for it


def test_a_redirect_to_a_host_that_has_no_turn_soon_is_not_followed_and_takes_none(
    context: FetchContext, hosts: Hosts, names: Names
) -> None:
    names["there.test"] = [["127.0.0.1"]]
    with Site({"/": page("x")}) as there, Site({"/": redirect(f"http://there.test:{there.port}/")}) as site:
        since = timezone.now()
        pace.postpone("there.test", 600)
        for _ in range(2):
            with pytest.raises(HostBusy) as busy:
                fetch(site.url, context)
            assert 590 < busy.value.seconds <= 600
        assert there.paths == []
        assert taken(since, "there.test") == 10
        blocked = hosts.shortest_wait
        assert blocked is not None
        assert blocked[1] == "there.test"


def test_a_redirect_within_a_host_is_followed_however_far_its_next_turn_is(context: FetchContext) -> None:
    with Site({"/": redirect("/there"), "/there": page("x")}) as site:
        since = timezone.now()
        pace.postpone("127.0.0.1", 600)
        fetch(site.url, context)
        assert site.paths == ["/robots.txt", "/", "/there"]
        assert taken(since) == 11


def test_a_host_whose_pages_lead_to_a_busy_one_is_left_alone_after_a_few(hosts: Hosts) -> None:
    robots.forget()
    url = "http://a.example/"
    for _ in range(MOST_TURNED_BACK):
        hosts._until.pop("there.test", None)
        CrawlHost.objects.filter(host="a.example").delete()
        assert hosts.begin(url) is not None
        pace.give_place_back("a.example")
        hosts.turn_back(url, 30.0)
    CrawlHost.objects.all().delete()
    assert hosts.begin(url) is None
    assert Hosts().begin(url) is not None
    pace.give_place_back("a.example")


def test_what_a_redirect_of_robots_txt_names_may_be_anything(context: FetchContext) -> None:
    for place in ("http://[", "ftp://f.example/", "http:///"):
        robots.forget()
        with Site({"/robots.txt": redirect(place), "/": page("x")}) as site, suppress(SourceFault):
            fetch(site.url, context)
    assert set(CrawlHost.objects.values_list("host", flat=True)) <= {"f.example", "127.0.0.1", ""}

"""Every request counts among the pages of its host: robots.txt before it is asked for, redirects afterwards."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from bots.knowledge.hosts import Hosts
from bots.knowledge.models import CrawlHost
from bots.knowledge.sources import crawling, fetching, pace
from bots.knowledge.sources.locations import NOTHING_KNOWN, FetchContext
from tests.bots.knowledge.sources.site import Site, page, redirect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]
SECONDS = 60.0


@pytest.fixture(autouse=True)
def _slow(settings: Any, local: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page a minute, for which no fetch of a test waits."""
    settings.CRAWL_PAGES_PER_MINUTE = 1
    monkeypatch.setattr(pace, "hop", lambda *_: 0.0)


def taken(since: datetime) -> int:
    """The turns of this machine that were taken since then."""
    return int((CrawlHost.objects.get(pk="127.0.0.1").next_at - since) / timedelta(seconds=SECONDS))


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
    assert not context.uncounted


def test_where_redirects_lead_to_is_counted_afterwards_and_so_is_its_robots_txt(context: FetchContext) -> None:
    with Site({"/robots.txt": redirect("/rules"), "/": page("x"), "/again": redirect("/")}) as there:
        with Site({"/": redirect(f"{there.url}/")}) as site:
            fetch(site.url, context)
        assert there.paths == ["/robots.txt", "/rules", "/"]
        since = timezone.now()
        Hosts().count(context.uncounted)
        assert taken(since) == 3
        fetch(f"{there.url}/again", context)
        Hosts().count(context.uncounted)
        assert taken(since) == 4  # the first address has its turn from whoever asked for it


def test_what_a_redirect_names_may_be_anything(context: FetchContext) -> None:
    context.uncounted.extend(["http://[", "ftp://f.example/", "http://e.example/"])
    Hosts().count(context.uncounted)
    assert set(CrawlHost.objects.values_list("host", flat=True)) == {"f.example", "e.example"}
    assert not context.uncounted

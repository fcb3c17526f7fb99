"""robots.txt is obeyed: of every host, at every redirect, and as RFC 9309 says where there is none."""

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from bots.knowledge.sources import crawling, fetching, robots
from bots.knowledge.sources.locations import NOTHING_KNOWN, FetchContext, Fetched, SourceFault
from tests.bots.knowledge.sources.site import Site, page, redirect

pytestmark = pytest.mark.usefixtures("local")
REFUSED = r"^robots\.txt does not allow it\.$"


@pytest.fixture
def fetch(context: FetchContext) -> Callable[[str], Fetched]:
    return lambda url: fetching.fetch(crawling.seed(url), NOTHING_KNOWN, context)


def text(body: str, status: str = "200 OK", *headers: str) -> Any:
    return page(body, "Content-Type: text/plain", *headers, status=status)


def test_what_a_site_forbids_is_not_fetched_and_the_rest_is(fetch: Callable[[str], Fetched]) -> None:
    rules = """\
        User-Agent: otherbot
        Disallow: /
        User-agent: *
        Disallow: /for-others
        User-Agent: Bedrock-Chat/1.0
        User-agent: thirdbot
        Disallow: /private
        Allow: /private/open
        Disallow: /*.pdf$
        Crawl-delay: 0.5
        """
    paths = ["/", "/for-others", "/private/open/a", "/private", "/a.pdf", "/a.pdf?x=1"]
    with Site({"/robots.txt": text(rules), **{path: page("x", "Content-Type: text/plain") for path in paths}}) as site:
        for path in ("/private", "/a.pdf"):
            with pytest.raises(SourceFault, match=REFUSED):
                fetch(f"{site.url}{path}")
        for path in ("/", "/for-others", "/private/open/a", "/a.pdf?x=1"):
            assert fetch(f"{site.url}{path}").size == 1
        assert robots.seconds_between(f"{site.url}/") == 0.5
        assert site.paths == ["/robots.txt", "/", "/for-others", "/private/open/a", "/a.pdf?x=1"]


def test_a_redirect_leads_nowhere_that_robots_forbid(fetch: Callable[[str], Fetched]) -> None:
    with Site({"/robots.txt": text("User-agent: *\nDisallow: /private"), "/private": page("x")}) as there:
        with Site({"/": redirect("/own"), "/own": redirect(f"{there.url}/private")}) as site:
            with pytest.raises(SourceFault, match=REFUSED):
                fetch(site.url)
            assert site.paths == ["/robots.txt", "/", "/own"]
        assert there.paths == ["/robots.txt"]


@pytest.mark.parametrize("status", ["400 No", "401 No", "403 No", "404 No", "410 No", "204 None"])
def test_without_a_robots_txt_all_is_allowed(fetch: Callable[[str], Fetched], status: str) -> None:
    with Site({"/robots.txt": text("User-agent: *\nDisallow: /", status), "/": page("x")}) as site:
        assert fetch(site.url).size == 1


@pytest.mark.parametrize(
    ("status", "headers", "retry_after"),
    [("500 No", (), None), ("503 No", ("Retry-After: 5",), 5), ("429 No", (), None)],
)
def test_a_server_that_fails_forbids_all_for_a_minute(
    fetch: Callable[[str], Fetched],
    context: FetchContext,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    headers: tuple[str, ...],
    retry_after: float | None,
) -> None:
    with Site({"/robots.txt": text("", status, *headers), "/": page("x")}) as site:
        for _ in range(3):
            with pytest.raises(SourceFault, match=rf"^robots\.txt: answered {status[:3]}\.$") as fault:
                fetch(site.url)
            assert fault.value.retry_after == retry_after
        assert site.paths == ["/robots.txt"]
        site.pages.pop("/robots.txt")
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + robots.REFUSED_SECONDS + 1)
        robots.check(f"{site.url}/", context, now + 100)


def test_a_robots_txt_that_leads_on_without_end_is_none(fetch: Callable[[str], Fetched]) -> None:
    with Site({"/robots.txt": redirect("/robots.txt"), "/": page("x")}) as site:
        assert fetch(site.url).size == 1


def test_of_a_large_robots_txt_the_first_500_kb_count(fetch: Callable[[str], Fetched]) -> None:
    body = "User-agent: *\nDisallow: /a\n" + "# more\n" * 100_000 + "Disallow: /b\n"
    with Site({"/robots.txt": text(body), "/b": page("x")}) as site:
        assert fetch(f"{site.url}/b").size == 1
        with pytest.raises(SourceFault, match=REFUSED):
            fetch(f"{site.url}/a")


def test_thousands_of_agents_with_thousands_of_rules_take_little() -> None:
    """Each rule is kept for each agent of its group: 3,000 of both would be nine million."""
    body = "".join(f"User-agent: bot{number}\n" for number in range(3_000))
    body += "".join(f"Disallow: /{number}\n" for number in range(3_000)) + "User-agent: *\nDisallow: /private"
    tracemalloc.start()
    rules = robots.Rules(robots.parsed(body))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    rules.check("https://e.example/1")
    with pytest.raises(SourceFault):
        rules.check("https://e.example/private")


@pytest.mark.parametrize(
    ("delay", "seconds"), [("Crawl-delay: 3", 3.0), ("Crawl-delay: 86400", 10.0), ("Crawl-delay: soon", 0.2), ("", 0.2)]
)
def test_a_site_may_ask_for_ten_seconds_between_pages_and_no_more(
    context: FetchContext, settings: Any, delay: str, seconds: float
) -> None:
    settings.CRAWL_PAGES_PER_MINUTE = 300
    with Site({"/robots.txt": text(f"User-agent: *\nAllow: /\n{delay}")}) as site:
        assert robots.seconds_between(f"{site.url}/") == 0.2
        robots.check(f"{site.url}/", context, time.monotonic() + 10)
        assert robots.seconds_between(f"{site.url}/") == seconds


@pytest.mark.parametrize(
    ("value", "is_indexed", "is_followed"),
    [
        ("", True, True),
        ("noindex", False, True),
        ("NoFollow , noarchive", True, False),
        ("none", False, False),
        ("otherbot: noindex, nofollow", True, True),
        ("otherbot: noindex, bedrock-chat: nofollow", True, False),
        ("bedrock-chat: none", False, False),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex", False, True),
        ("max-snippet: 5, max-image-preview: large", True, True),
    ],
)
def test_a_header_says_whether_a_page_is_kept_and_its_links_are_followed(
    value: str, is_indexed: bool, is_followed: bool
) -> None:
    assert robots.tagged(value) == (is_indexed, is_followed)

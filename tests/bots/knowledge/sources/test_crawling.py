"""Where a crawl begins and where a page leads to, decided without network."""

from typing import Any

import pytest

from bots.knowledge.reading.pages import Page, Reading
from bots.knowledge.sources import crawling, kinds
from bots.knowledge.sources.crawling import discovered
from bots.knowledge.sources.locations import Discovered, Fetched, Location, SourceFault
from bots.knowledge.sources.scope import Web

DOCS = "https://e.example/docs"
BLOG = "https://e.example/blog/"
WEB = Web.of([DOCS, BLOG], "DEFAULT")


def look(
    url: str, *links: str, web: Web = WEB, final: str = "", fetched: dict[str, Any] | None = None, **reading: Any
) -> Discovered:
    """What follows from a page of the web that was read."""
    location = crawling.location(crawling.address_of(url), web, is_listed=False)
    page = Fetched(location, None, final_url=final or location.location, **(fetched or {}))
    return discovered(web, page, Reading((Page(None, "text"),), links=links, **reading))


def reached(discovered: Discovered) -> list[str]:
    return [location.location for location in discovered.locations]


def test_links_within_scope_are_pages_with_their_owner() -> None:
    page = look(
        f"{DOCS}/a",
        "b#part",
        "/docs/b?utm_source=a",
        "./c d\n/e",
        "../blog/1",
        "//e.example/docs/?x=1",
        "/about",
        "https://other.example/docs/",
        "mailto:alice@e.example",
        "javascript:void(0)",
        "http://[",
        "",
    )
    assert [(location.location, location.owner, location.role) for location in page.locations] == [
        (f"{DOCS}/b", DOCS, "page"),
        (f"{DOCS}/c%20d/e", DOCS, "page"),
        (f"{BLOG}1", BLOG, "page"),
        (f"{DOCS}/?x=1", DOCS, "page"),
    ]
    assert (page.is_kept, page.skipped) == (True, 0)


def test_files_are_read_from_any_host_and_nothing_follows_from_them() -> None:
    page = look(f"{DOCS}/a", "https://cdn.example/Report%20A.PDF?v=2", "https://cdn.example/page.html", "/docs/own.pdf")
    assert [(location.location, location.name, location.owner, location.role) for location in page.locations] == [
        ("https://cdn.example/Report%20A.PDF?v=2", "Report A.PDF", "", "linked"),
        (f"{DOCS}/own.pdf", "own.pdf", DOCS, "page"),
    ]
    assert look("https://cdn.example/r.pdf", "https://cdn.example/s.pdf", f"{DOCS}/b").locations == ()


def test_what_has_no_text_and_what_the_filters_refuse_is_counted_once() -> None:
    web = Web.of([DOCS], "DEFAULT", exclude=["/private/", r"\.csv$"])
    page = look(f"{DOCS}/a", "a.png", "a.png", "b.zip", "private/x", "https://cdn.example/x.csv", "b", web=web)
    assert (reached(page), page.skipped) == ([f"{DOCS}/b"], 4)


def test_traps_end() -> None:
    page = look(f"{DOCS}{'/a' * 19}", "b/c", f"{DOCS}/{'x' * 2000}", "../b")
    assert reached(page) == [f"{DOCS}{'/a' * 17}/b"]


def test_a_page_that_links_to_itself_leads_nowhere() -> None:
    assert look(f"{DOCS}/a", "a", "#top", "/docs/a?utm_x=1").locations == ()


def test_of_a_page_with_links_without_number_the_first_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawling, "MOST_LINKS", 20)
    assert len(look(f"{DOCS}/a", *(f"p{number}" for number in range(100))).locations) == 20


# ---- Seeds ----------------------------------------------------------------------------------------------------------


def test_a_seed_is_read_for_its_links_and_kept_where_the_filters_let_it_pass() -> None:
    web = Web.of([DOCS], "DEFAULT", include=["/docs/guide"])
    seed = crawling.seed(f"{DOCS}#top")
    assert (seed.location, seed.owner, seed.role, seed.name) == (DOCS, DOCS, "page", "docs")
    page = look(DOCS, "/docs/guide/1", "/docs/news", web=web)
    assert (page.is_kept, reached(page)) == (False, [f"{DOCS}/guide/1"])


def test_a_seed_that_leads_elsewhere_on_its_host_is_read_for_its_links_alone() -> None:
    page = look(DOCS, "/docs/b", final="https://e.example/welcome")
    assert (page.location.location, page.is_kept, reached(page)) == (DOCS, False, [f"{DOCS}/b"])


def test_a_seed_that_leads_to_another_host_says_which() -> None:
    with pytest.raises(SourceFault, match=r"^It leads to www\.e\.example, which is outside") as fault:
        look(DOCS, final="https://www.e.example/docs")
    assert not fault.value.is_skipped


# ---- Names ----------------------------------------------------------------------------------------------------------


def test_a_page_has_the_name_that_it_gives_itself_within_scope() -> None:
    for canonical, name in (
        ("/docs/b", f"{DOCS}/b"),
        (f"{BLOG}1", f"{BLOG}1"),
        ("https://other.example/docs/b", f"{DOCS}/a"),
        ("/about", f"{DOCS}/a"),
        ("http://[", f"{DOCS}/a"),
        ("", f"{DOCS}/a"),
    ):
        assert look(f"{DOCS}/a", canonical=canonical).location.location == name
    moved = look(f"{DOCS}/a", "c", final=f"{BLOG}x/y")
    assert (moved.location.location, moved.location.owner) == (f"{BLOG}x/y", BLOG)
    assert reached(moved) == [f"{BLOG}x/c"]


def test_a_redirect_out_of_scope_is_no_document() -> None:
    with pytest.raises(SourceFault, match="outside of what is crawled") as fault:
        look(f"{DOCS}/a", final="https://e.example/login")
    assert fault.value.is_skipped


def test_pages_of_a_sitemap_keep_their_name_and_lead_nowhere() -> None:
    listed = crawling.location("https://f.example/x", WEB, is_listed=True)
    page = Fetched(listed, None, final_url="https://f.example/y")
    assert discovered(WEB, page, Reading((), links=(f"{DOCS}/a",), canonical=f"{DOCS}/b")) == Discovered(listed, True)
    file = Location("file", "file:a.html", "a.html")
    assert discovered(WEB, Fetched(file, None), Reading((), links=(f"{DOCS}/a",))) == Discovered(file, True)


# ---- noindex and nofollow -------------------------------------------------------------------------------------------


def test_noindex_keeps_no_document_and_nofollow_follows_nothing() -> None:
    assert not look(f"{DOCS}/a", is_indexed=False).is_kept
    assert reached(look(f"{DOCS}/a", "b", is_indexed=False)) == [f"{DOCS}/b"]
    assert reached(look(f"{DOCS}/a", "b", is_followed=False)) == []
    assert not look(f"{DOCS}/a", fetched={"is_indexed": False}).is_kept
    assert reached(look(f"{DOCS}/a", "b", fetched={"is_followed": False})) == []


def test_what_is_kept_of_a_page_remembers_what_its_headers_said() -> None:
    """An answer 304 does not say it again."""
    reading = Reading((), links=("b",))
    location = crawling.location(f"{DOCS}/a", WEB, is_listed=False)
    kept = crawling.kept(Fetched(location, None, is_followed=False), reading)
    assert discovered(WEB, Fetched(location, None, is_unchanged=True), kept).locations == ()
    assert crawling.kept(Fetched(location, None), reading) is reading


def test_what_is_not_read_can_be_saved_as_something_else() -> None:
    assert kinds.refusal_of_name("a.doc") == "This type of file is not supported; save it as DOCX."
    assert kinds.refusal_of_name("a.exe") == "This type of file is not supported; save it as PDF, DOCX or TXT."


def test_a_name_has_nothing_in_it_that_cannot_be_stored_or_deceives() -> None:
    for path, name in (
        ("/a%00b%0d%0a.pdf", "ab .pdf"),
        ("/%E2%80%AEfdp.exe", "fdp.exe"),
        ("/%ff%fe", "e.example"),
        ("/..%2f..%2fetc", "../../etc"),
        ("/%00", "e.example"),
        ("/", "e.example"),
    ):
        assert kinds.name_of(f"https://e.example{path}") == name

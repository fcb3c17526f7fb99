"""Sitemaps are read whole or up to their bounds, whoever wrote them."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.outbound.faults import MEGABYTE
from bots.knowledge.sources import sitemaps
from bots.knowledge.sources.locations import FetchContext, Listed, SourceFault
from bots.knowledge.sources.scope import Web
from tests.bots.knowledge.sources.site import Site, page, redirect

NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
ANY = Web.of([], "DEFAULT")


def urlset(*urls: str, changed: str = "") -> str:
    entries = "".join(f"<url><loc>{url}</loc>{changed and f'<lastmod>{changed}</lastmod>'}</url>" for url in urls)
    return f'<?xml version="1.0" encoding="UTF-8"?><urlset {NAMESPACE}>{entries}</urlset>'


def index(*urls: str) -> str:
    entries = "".join(f"<sitemap><loc>{url}</loc></sitemap>" for url in urls)
    return f"<sitemapindex {NAMESPACE}>{entries}</sitemapindex>"


def read(tmp_path: Path, body: bytes | str) -> sitemaps.Sitemap:
    path = tmp_path / "sitemap"
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return sitemaps.read(path, tmp_path)


def parts(url: str, web: Web, context: FetchContext) -> list[Listed]:
    """All parts of a list. What a call leaves for the next one goes through JSON, as in the database."""
    listed = [sitemaps.listed(url, {}, web, context)]
    while listed[-1].rest is not None:
        listed.append(sitemaps.listed(url, json.loads(json.dumps(listed[-1].rest)), web, context))
    return listed


# ---- A source's sitemaps --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("local")
def test_each_address_of_its_host_is_a_document_and_the_others_are_counted(context: FetchContext) -> None:
    web = Web.of([], "DEFAULT", exclude=["/private"])
    with Site() as site:
        own = [f"{site.url}/{path}" for path in ("a", "a#b", "b?x=1&amp;y=2", "private", "picture.png")]
        site.pages["/map.xml"] = page(urlset(*own, "https://e.example/", "no address", changed="2026-11-30"))
        [listed] = parts(f"{site.url}/map.xml", web, context)
    assert [location.location for location in listed.locations] == [f"{site.url}/a", f"{site.url}/b?x=1&y=2"]
    assert {(location.role, location.owner, location.changed) for location in listed.locations} == {
        ("listed", "", "2026-11-30")
    }
    assert (listed.skipped, listed.note, listed.next_url) == (4, "", "")


@pytest.mark.usefixtures("local")
def test_an_index_is_read_three_deep_a_sitemap_at_a_time(context: FetchContext, folder: Path) -> None:
    with Site() as site:
        site.pages |= {
            "/robots.txt": page("User-agent: *\nDisallow: /hidden", "Content-Type: text/plain"),
            "/1": page(index(*(f"{site.url}/{name}" for name in ("2", "2", "gone", "hidden")), "https://e.example/")),
            "/2": page(index(f"{site.url}/3.gz", f"{site.url}/1")),
            "/3.gz": page(gzip.compress(urlset(f"{site.url}/page").encode()), "Content-Type: application/gzip"),
        }
        listed = parts(f"{site.url}/1", ANY, context)
        assert site.paths == ["/robots.txt", "/1", "/2", "/gone", "/3.gz", "/1"]
        assert [part.next_url.removeprefix(site.url) for part in listed] == [
            "/2",
            "/gone",
            "/hidden",
            "/3.gz",
            "/1",
            "",
        ]
        assert [location.location for part in listed for location in part.locations] == [f"{site.url}/page"]
    assert [part.note for part in listed if part.note] == [
        "A sitemap: answered 404.",
        "A sitemap: robots.txt does not allow it.",
        "An index of sitemaps leads to more of them than are read.",
    ]
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("local")
def test_a_sitemap_that_cannot_be_had_is_its_sources_reason(context: FetchContext, folder: Path) -> None:
    with Site() as site:
        site.pages |= {"/page": page("<html><body>Not found"), "/busy": page(status="429 No"), "/empty": page()}
        for path, sentence in (
            ("gone", "answered 404."),
            ("busy", "answered 429."),
            ("page", sitemaps.DAMAGED),
            ("empty", sitemaps.DAMAGED),
        ):
            with pytest.raises(SourceFault) as fault:
                sitemaps.listed(f"{site.url}/{path}", {}, ANY, context)
            assert fault.value.sentence == sentence
    with pytest.raises(SourceFault, match="This address is not allowed"):
        sitemaps.listed("http://10.0.0.1/sitemap.xml", {}, ANY, context)
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("local")
def test_a_host_that_wants_a_pause_is_told_with_what_was_read(context: FetchContext) -> None:
    with Site() as site:
        site.pages |= {
            "/1": page(index(f"{site.url}/2", f"{site.url}/3")),
            "/2": page("", "Retry-After: 7", status="503 Busy"),
            "/3": page(urlset(f"{site.url}/a")),
        }
        listed = parts(f"{site.url}/1", ANY, context)
    assert [(part.retry_after, len(part.locations)) for part in listed] == [(None, 0), (7.0, 0), (None, 1)]


@pytest.mark.usefixtures("local")
def test_a_sitemap_that_has_moved_lists_pages_of_where_it_is(context: FetchContext) -> None:
    with Site() as site, Site(host="127.0.0.2") as moved:
        site.pages["/map.xml"] = redirect(f"{moved.url}/map.xml")
        moved.pages["/map.xml"] = page(urlset(f"{moved.url}/a", f"{site.url}/b", "https://e.example/"))
        [listed] = parts(f"{site.url}/map.xml", ANY, context)
    assert ([len(listed.locations)], listed.skipped) == ([2], 1)


@pytest.mark.usefixtures("local")
def test_an_index_of_thousands_is_bounded(context: FetchContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitemaps, "MOST_SITEMAPS", 4)
    with Site() as site:
        site.pages["/1"] = page(index(*(f"{site.url}/{number}" for number in range(2, 100))))
        listed = parts(f"{site.url}/1", ANY, context)
    assert len(listed) == 4
    assert listed[0].note == "An index of sitemaps leads to more of them than are read."


# ---- One sitemap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        urlset("https://e.example/a"),
        urlset("\n https://e.example/a \n").encode("utf-8-sig"),
        f'<?xml version="1.0" encoding="utf-16"?><urlset {NAMESPACE}><url><loc>https://e.example/a</loc></url></urlset>'.encode(
            "utf-16"
        ),
        "<urlset><url><loc><![CDATA[https://e.example/a]]></loc></url></urlset>",
        f'<urlset {NAMESPACE} xmlns:image="urn:image"><url><image:image><image:loc>https://e.example/b</image:loc>'
        "</image:image><loc>https://e.example/a</loc></url></urlset>",
        "\ufeffhttps://e.example/a\r\n\n# not an address\n",
        "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><urlset><url><loc>https://e.example/a&a;</loc></url></urlset>",
        "<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/x.dtd'><urlset><url><loc>https://e.example/a</loc></url></urlset>",
    ],
    ids=["XML", "BOM", "UTF-16", "CDATA", "pictures", "text", "entity of a file", "DTD"],
)
def test_a_sitemap_has_many_forms(tmp_path: Path, body: str | bytes) -> None:
    assert read(tmp_path, body).pages == [("https://e.example/a", "")]
    packed = gzip.compress(body.encode() if isinstance(body, str) else body)
    assert read(tmp_path, packed).pages == [("https://e.example/a", "")]


def test_of_a_damaged_sitemap_what_stands_before_the_damage_is_kept(tmp_path: Path) -> None:
    sitemap = read(tmp_path, urlset("https://e.example/a", "https://e.example/b")[:-20])
    assert sitemap.pages == [("https://e.example/a", "")]
    assert sitemap.note == "A sitemap is damaged, and was read up to there."


def bomb() -> bytes:
    entities = "".join(f'<!ENTITY a{depth} "{f"&a{depth - 1};" * 10}">' for depth in range(1, 12))
    return f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{entities}]><urlset><url><loc>&a11;</loc></url></urlset>'.encode()


@pytest.mark.parametrize(
    "body",
    [
        bomb(),
        b"<urlset>" + b"<a>" * 10_000,
        b"<html><loc>https://e.example/</loc></html>",
        b"%PDF-1.7",
        gzip.compress(b"%PDF-1.7"),
        gzip.compress(urlset("https://e.example/").encode())[:-9],
        b"\x1f\x8bnothing",
    ],
    ids=["entity bomb", "nested", "page", "PDF", "PDF in gzip", "cut", "no gzip"],
)
def test_what_is_no_sitemap_is_a_sentence(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(SourceFault, match=r"^This is no sitemap, or a damaged one\.$"):
        read(tmp_path, body)
    assert [path.name for path in tmp_path.iterdir()] == ["sitemap"]


def test_gigabytes_in_a_megabyte_are_counted_while_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitemaps, "MOST_BYTES", 2 * MEGABYTE)
    packed = gzip.compress(b"<urlset>" + b" " * 5_000_000, 9)
    assert len(packed) < 10_000
    with pytest.raises(SourceFault, match=r"^A sitemap is larger than 2 MB when it is unpacked\.$"):
        read(tmp_path, packed)


@pytest.mark.parametrize(
    ("head", "repeated", "pages"),
    [
        ("<urlset><url><loc>https://e.example/</loc></url>", "<a/>", 1),
        ("<urlset>", "<url><loc>https://e.example/</loc></url>", 200),
        ("", "https://e.example/\n", 200),
    ],
    ids=["elements", "addresses", "lines"],
)
def test_more_than_is_read_is_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, repeated: str, pages: int
) -> None:
    monkeypatch.setattr(sitemaps, "MOST_ADDRESSES", 200)
    monkeypatch.setattr(sitemaps, "MOST_ELEMENTS", 2_000)
    body = head + repeated * 100_000
    tracemalloc.start()
    sitemap = read(tmp_path, body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(sitemap.pages), sitemap.note) == (pages, sitemaps.TOO_MANY)
    assert peak < len(body) + 3_000_000


@pytest.mark.parametrize("is_xml", [True, False])
def test_addresses_that_are_far_too_long_together_are_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_xml: bool
) -> None:
    monkeypatch.setattr(sitemaps, "MOST_CHARACTERS", 10_000)
    addresses = [f"https://e.example/{'a' * 982}" for _ in range(30)]
    sitemap = read(tmp_path, urlset(*addresses) if is_xml else "\n".join(addresses))
    assert (len(sitemap.pages), sitemap.note) == (10, sitemaps.TOO_MANY)


def test_a_text_without_end_is_cut(tmp_path: Path) -> None:
    loc: Any = "https://e.example/" + "a" * 5_000_000
    [(address, _)] = read(tmp_path, f"<urlset><url><loc>{loc}</loc></url></urlset>").pages
    assert len(address) == sitemaps.LONGEST_TEXT

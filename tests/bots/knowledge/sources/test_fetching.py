"""A document of the web: what is fetched, what is known of it afterwards, and why something is not."""

import gzip
import hashlib
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.process.interruption import Interrupted
from bots.knowledge.sources import crawling, fetching
from bots.knowledge.sources.locations import NOTHING_KNOWN, FetchContext, Fetched, Known, Location, SourceFault
from bots.knowledge.sources.scope import Web
from tests.bots.knowledge.sources.site import Site, page, redirect
from tests.outbound.servers import Answer, Names, raw
from tests.outbound.test_addresses import ILL_FORMED, SPELLINGS

local = pytest.mark.usefixtures("local")
Fetch = Callable[..., Fetched]


@pytest.fixture
def fetch(context: FetchContext) -> Fetch:
    def call(url: str, known: Known = NOTHING_KNOWN, role: Any = "page") -> Fetched:
        return fetching.fetch(replace(crawling.seed(url), role=role), known, context)

    return call


@local
def test_a_page_comes_with_what_its_server_says(fetch: Fetch) -> None:
    body = "<h1>Größe</h1>".encode("latin-1")
    headers = ('ETag: W/"7"', "Last-Modified: Mon, 30 Nov 2026 10:00:00 GMT", "X-Robots-Tag: nofollow")
    with Site({"/a": page(body, "Content-Type: Text/HTML; Charset=ISO-8859-1", *headers)}) as site:
        fetched = fetch(f"{site.url}/a#part")
    assert fetched.path is not None
    assert fetched.path.read_bytes() == body
    assert (fetched.kind, fetched.media_type, fetched.charset) == ("html", "text/html", "iso-8859-1")
    assert (fetched.etag, fetched.last_modified) == ('W/"7"', "Mon, 30 Nov 2026 10:00:00 GMT")
    assert (fetched.digest, fetched.size) == (hashlib.sha256(body).hexdigest(), len(body))
    assert (fetched.final_url, fetched.is_indexed, fetched.is_followed) == (f"{site.url}/a", True, False)
    assert all("\r\nUser-Agent: bedrock-chat\r\n" in request for request in site.requests)
    assert not any("cookie" in request.lower() for request in site.requests)


@local
@pytest.mark.parametrize("tag", ['"\x00"', '"\x85"', f'"{"x" * 511}"'])
def test_a_tag_that_cannot_be_kept_is_none(fetch: Fetch, tag: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n"
    answer = raw(head + f"ETag: {tag}\r\nLast-Modified: {tag}\r\n\r\nx".encode("latin-1"))
    with Site({"/": answer}) as site:
        fetched = fetch(site.url)
    assert (fetched.size, fetched.etag, fetched.last_modified) == (1, "", "")


@local
def test_a_page_that_has_not_changed_is_not_fetched_again(fetch: Fetch, folder: Path) -> None:
    known = Known(etag='"1"', last_modified="Mon, 30 Nov 2026 10:00:00 GMT", digest=hashlib.sha256(b"same").hexdigest())
    with Site({"/a": page(b"", status="304 Not Modified"), "/b": page("same"), "/c": page("other")}) as site:
        unchanged = fetch(f"{site.url}/a", known)
        assert '\r\nIf-None-Match: "1"\r\n' in site.requests[-1]
        assert "\r\nIf-Modified-Since: Mon, 30 Nov 2026 10:00:00 GMT\r\n" in site.requests[-1]
        same = fetch(f"{site.url}/b", known)
        other = fetch(f"{site.url}/c", known)
        with pytest.raises(SourceFault, match=r"^answered 304\.$"):
            fetch(f"{site.url}/a")
    for fetched in (unchanged, same):
        assert (fetched.is_unchanged, fetched.path) == (True, None)
        assert (fetched.etag, fetched.last_modified, fetched.digest) == ('"1"', known.last_modified, known.digest)
    assert not other.is_unchanged
    assert [other.path] == list(folder.iterdir())


@local
@pytest.mark.parametrize(
    ("media_type", "path", "kind"),
    [
        ("text/html", "/report.pdf", "html"),
        ("application/pdf", "/download", "pdf"),
        ("application/octet-stream", "/h%20b.PDF?x=1", "pdf"),
        ("text/plain", "/notes.md", "md"),
        ("text/plain", "/notes", "txt"),
        ("text/csv; charset=utf-8", "/a", "csv"),
        ("application/xhtml+xml", "/a", "html"),
        ("", "/a", "html"),
        ("application/vnd.oasis.opendocument.spreadsheet", "/a", "ods"),
    ],
)
def test_the_server_says_what_a_document_is_and_else_its_name(
    fetch: Fetch, media_type: str, path: str, kind: str
) -> None:
    with Site({path: page("text", f"Content-Type: {media_type}")}) as site:
        assert fetch(f"{site.url}{path}").kind == kind


@local
@pytest.mark.parametrize(
    ("media_type", "path"), [("image/png", "/a"), ("application/octet-stream", "/a.exe"), ("", "/a.zip")]
)
def test_what_has_no_text_is_skipped_before_its_body_comes(
    fetch: Fetch, folder: Path, media_type: str, path: str
) -> None:
    head = raw(f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n\r\n".encode())
    with Site({path: head}) as site, pytest.raises(SourceFault, match=r"save it as PDF, DOCX or TXT\.$") as skipped:
        fetch(f"{site.url}{path}")
    assert skipped.value.is_skipped
    assert list(folder.iterdir()) == []


@local
def test_what_another_site_names_as_a_file_and_is_a_page_is_skipped(fetch: Fetch) -> None:
    with Site({"/a.pdf": page("<p>Please sign in")}) as site, pytest.raises(SourceFault) as skipped:
        fetch(f"{site.url}/a.pdf", role="linked")
    assert skipped.value.is_skipped


@local
@pytest.mark.parametrize(
    ("status", "headers", "is_gone", "retry_after"),
    [
        ("401 No", (), False, None),
        ("403 No", ("Retry-After: 9",), False, None),
        ("404 No", (), True, None),
        ("410 No", (), True, None),
        ("429 No", ("Retry-After: 17",), False, 17.0),
        ("503 No", ("Retry-After: 99999999",), False, 3600.0),
        ("503 No", ("Retry-After: Mon, 30 Nov 2026 10:00:00 GMT",), False, 60.0),
        ("503 No", (), False, None),
        ("500 No", (), False, None),
        ("206 Part", (), False, None),
        ("302 Nowhere", (), False, None),
    ],
)
def test_any_other_answer_is_a_sentence(
    fetch: Fetch, folder: Path, status: str, headers: tuple[str, ...], is_gone: bool, retry_after: float | None
) -> None:
    with Site({"/": page("no", *headers, status=status)}) as site, pytest.raises(SourceFault) as fault:
        fetch(site.url)
    assert fault.value.sentence == f"answered {status[:3]}."
    assert (fault.value.is_gone, fault.value.retry_after) == (is_gone, retry_after)
    assert list(folder.iterdir()) == []


# ---- Addresses that are not allowed ---------------------------------------------------------------------------------


def test_no_spelling_of_an_address_that_is_not_allowed_is_fetched(context: FetchContext) -> None:
    """A resolver that does not read such a number as an address knows no such name."""
    sentences = set[str]()
    for url in [*SPELLINGS, *ILL_FORMED]:
        with pytest.raises(SourceFault) as refused:
            fetching.fetch(Location("web", url, "x", role="listed"), NOTHING_KNOWN, context)
        sentences.add(refused.value.sentence)
    assert "This address is not allowed." in sentences
    assert sentences <= {"This address is not allowed.", "The server's name leads nowhere.", crawling.TOO_LONG}


def test_a_source_that_is_no_address_of_the_web_says_so() -> None:
    for url in ("file:///etc/passwd", "gopher://8.8.8.8/", "https://alice:secret@e.example/", "http://e.example:0/"):
        with pytest.raises(SourceFault, match=r"^This address is not allowed\.$"):
            crawling.seed(url)
    with pytest.raises(SourceFault, match="too long"):
        crawling.seed(f"https://e.example/{'a/' * 21}")


@local
def test_a_redirect_to_metadata_is_not_followed(fetch: Fetch) -> None:
    metadata = redirect("http://169.254.169.254/latest/meta-data/")
    with Site({"/": metadata}) as site, pytest.raises(SourceFault, match=r"^This address is not allowed\.$"):
        fetch(site.url)


def test_a_name_that_resolves_privately_at_the_second_look_is_not_fetched(
    fetch: Fetch, names: Names, settings: Any
) -> None:
    """The first look was for robots.txt."""
    settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.1/32"),), frozenset())
    with Site({"/": page("public")}) as site, Site() as private:
        names["changing.test"] = [["127.0.0.1"], ["127.0.0.2"]]
        with pytest.raises(SourceFault, match=r"^This address is not allowed\.$"):
            fetch(f"http://changing.test:{site.port}/")
        assert (site.paths, private.paths) == (["/robots.txt"], [])


# ---- Servers that are odd -------------------------------------------------------------------------------------------


def endless(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while True:
        connection.sendall(b"x" * 65536)


def circle(connection: socket.socket, line: str) -> None:
    redirect(f"{line.split(' ')[1]}1")(connection, line)


BOMB = page(gzip.compress(b"0" * 50_000_000, 9), "Content-Encoding: gzip")


@local
@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (endless, "The server's answer is larger than 5 MB."),
        (BOMB, "The server's answer is larger than 5 MB."),
        (circle, "The server redirects more than 5 times."),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "The server's answer is not HTTP."),
        (page("x", "Content-Encoding: br"), "The server's answer is compressed, though it was asked for a plain one."),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            "The connection to the server broke before its answer was complete.",
        ),
    ],
    ids=["endless", "bomb", "circle", "no HTTP", "brotli", "cut"],
)
def test_a_server_that_is_odd_costs_its_bound_and_is_a_sentence(
    fetch: Fetch, folder: Path, answer: Answer, sentence: str
) -> None:
    class Everywhere(dict[str, Answer]):
        def get(self, path: str, default: Any = None) -> Any:
            return default if path == "/robots.txt" else answer

    with Site() as site:
        site.pages = Everywhere()
        with pytest.raises(SourceFault) as fault:
            fetch(f"{site.url}/a")
    assert fault.value.sentence == sentence
    assert list(folder.iterdir()) == []


@local
def test_a_dripping_server_costs_the_deadline(fetch: Fetch, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def dripping(connection: socket.socket, _: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.01)

    monkeypatch.setattr(fetching, "PAGE_SECONDS", 0.3)
    with Site({"/": dripping}) as site, pytest.raises(SourceFault, match=r"^The server did not answer in time\.$"):
        fetch(site.url)
    assert list(folder.iterdir()) == []


@local
def test_a_stop_ends_a_fetch(context: FetchContext) -> None:
    context.interruption.request()
    with Site({"/": page("x")}) as site:
        with pytest.raises(Interrupted):
            fetching.fetch(crawling.seed(site.url), NOTHING_KNOWN, context)
        assert site.paths == []


@local
def test_files_may_be_larger_than_pages(fetch: Fetch, settings: Any) -> None:
    body = b"x" * 6_000_000
    answers = {"/a": page(body), "/b": page(body, "Content-Type: application/pdf")}
    with Site(answers) as site:
        with pytest.raises(SourceFault, match="larger than 5 MB"):
            fetch(f"{site.url}/a")
        assert fetch(f"{site.url}/b").size == 6_000_000
        settings.KNOWLEDGE_FILE_MB = 1
        with pytest.raises(SourceFault, match="larger than 1 MB"):
            fetch(f"{site.url}/b")


@local
def test_no_log_has_the_query_of_an_address(fetch: Fetch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    pages = {"/": redirect("/there?token=secret"), "/there?token=secret": endless}
    with Site(pages) as site, pytest.raises(SourceFault) as fault:
        fetch(f"{site.url}/")
    assert "secret" not in caplog.text + fault.value.sentence


def test_a_web_without_seeds_covers_nothing() -> None:
    assert Web.of([], "SUBDOMAINS").owner("https://e.example/") is None

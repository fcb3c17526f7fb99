"""Bodies in files: redirects are judged anew, gzip is counted while it is unpacked, and one deadline is for it all."""

import gzip
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.outbound import connecting
from bedrock_chat.outbound.downloading import Downloaded, download
from bedrock_chat.outbound.faults import (
    Cut,
    Encoded,
    NotAllowed,
    NotTrusted,
    OutboundFault,
    TimedOut,
    TooLarge,
    TooManyRedirects,
    Unreadable,
)
from bedrock_chat.process.interruption import Interrupted, Interruption
from tests.outbound.servers import Names, Server, certified, plain, until_left

pytestmark = pytest.mark.usefixtures("local")
Get = Callable[..., Downloaded]
GZIP = "Content-Encoding: gzip"


@pytest.fixture
def get(tmp_path: Path) -> Get:
    """`download` with what a test does not care about. Files go into the test's folder."""

    def call(url: str, *, seconds: float = 10, **options: Any) -> Downloaded:
        arguments = {
            "headers": {},
            "most_bytes": 100_000,
            "most_redirects": 5,
            "deadline": time.monotonic() + seconds,
            "interruption": Interruption(),
            "folder": tmp_path,
        }
        return download(url, **{**arguments, **options})

    return call


def redirect(location: str, status: str = "302 Found") -> Callable[[socket.socket, str], None]:
    return plain(b"elsewhere", status, f"Location: {location}")


def routes(**answers: Any) -> Callable[[socket.socket, str], None]:
    """Answers by the first word of the path."""

    def answer(connection: socket.socket, line: str) -> None:
        word = line.split(" ")[1].strip("/").partition("/")[0].partition("?")[0]
        answers.get(word, plain(b"", "404 Not Found"))(connection, line)

    return answer


def test_a_body_goes_into_a_file_with_its_digest(get: Get, tmp_path: Path) -> None:
    body = b"page" * 20_000
    with Server(plain(body, "200 OK", 'ETag: "1"', "X-Robots-Tag: noindex", "X-Robots-Tag: nofollow")) as server:
        downloaded = get(f"{server.url}/a?b=1", headers={"If-None-Match": '"0"'})
        [request] = server.requests
    assert downloaded.path is not None
    assert downloaded.path.read_bytes() == body
    assert downloaded.path.parent == tmp_path
    assert (downloaded.size, downloaded.digest) == (80_000, hashlib.sha256(body).hexdigest())
    assert (downloaded.status, downloaded.headers["etag"], downloaded.url) == (200, '"1"', f"{server.url}/a?b=1")
    assert downloaded.headers["x-robots-tag"] == "noindex, nofollow"
    head = request.lower()
    assert head.startswith("get /a?b=1 http/1.1\r\n")
    assert '\r\nif-none-match: "0"\r\n' in head
    assert "\r\naccept-encoding: identity\r\n" in head
    assert "content-length" not in head


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content", "304 Not Modified", "404 No", "503 No"])
def test_what_other_statuses_have_to_say_is_not_read(get: Get, tmp_path: Path, status: str) -> None:
    with Server(plain(b"" if status[0] == "3" else b"x", status)) as server:
        downloaded = get(server.url)
    assert (downloaded.status, downloaded.path) == (int(status[:3]), None)
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed_and_their_address_is_told(get: Get) -> None:
    followed = list[str]()
    with Server(plain(b"there")) as there:
        way = routes(
            a=redirect("/b/c?x=1#part", "301 Moved"),
            b=redirect("../d"),
            d=redirect(f"{there.url}/größe", "308 Moved"),
        )
        with Server(lambda connection, line: way(connection, line)) as server:
            downloaded = get(f"{server.url}/a", before_redirect=followed.append)
    assert downloaded.url == f"{there.url}/größe"
    assert followed == [f"{server.url}/b/c?x=1", f"{server.url}/d", f"{there.url}/größe"]
    assert there.requests[0].startswith("GET /gr%C3%B6%C3%9Fe HTTP/1.1\r\n")


def test_twenty_hops_are_too_many(get: Get) -> None:
    def answer(connection: socket.socket, line: str) -> None:
        hop = int(line.split(" ")[1].strip("/"))
        (redirect(f"/{hop + 1}") if hop < 20 else plain())(connection, line)

    with Server(answer) as server:
        with pytest.raises(TooManyRedirects, match=r"The server redirects more than 5 times\."):
            get(f"{server.url}/0")
        assert len(server.requests) == 6
        assert get(f"{server.url}/15").status == 200


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://[::ffff:a9fe:a9fe]/",
        "//10.0.0.1/",
        "file:///etc/passwd",
        "gopher://8.8.8.8:25/_x",
        "http://alice:secret@8.8.8.8/",
        "http://[::1",
        "javascript:alert(1)",
    ],
)
def test_a_redirect_to_what_is_not_allowed_is_not_followed(get: Get, tmp_path: Path, location: str) -> None:
    with Server(redirect(location)) as server, pytest.raises(NotAllowed, match=r"^This address is not allowed\.$"):
        get(server.url)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_judged_anew_at_every_hop(get: Get, names: Names, settings: Any) -> None:
    """The second look at the name leads to an address that is not allowed."""
    settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.1/32"),), frozenset())
    names["changing.test"] = [["127.0.0.1"], ["127.0.0.2"]]
    with Server(redirect("/again")) as server:
        with pytest.raises(NotAllowed):
            get(f"http://changing.test:{server.port}/")
        assert len(server.requests) == 1


def test_a_redirect_to_https_holds_the_certificate_against_the_name(
    get: Get, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = certified(tmp_path, "docs.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    connecting._tls.cache_clear()
    names["docs.test"] = names["other.test"] = [["127.0.0.1"]]

    def leading(connection: socket.socket, line: str) -> None:
        redirect(f"https://{line[5:].partition(' ')[0]}:{secure.port}/")(connection, line)

    with Server(plain(b"page"), tls=context) as secure, Server(leading) as server:
        assert get(f"{server.url}/docs.test").url == f"https://docs.test:{secure.port}/"
        with pytest.raises(NotTrusted):
            get(f"{server.url}/other.test")
    connecting._tls.cache_clear()


def test_who_looks_at_redirects_may_stop_them(get: Get) -> None:
    def refuse(url: str) -> None:
        raise PermissionError(url)

    with Server(redirect("/private")) as server:
        with pytest.raises(PermissionError, match="/private"):
            get(server.url, before_redirect=refuse)
        assert len(server.requests) == 1


def test_gzip_is_unpacked_though_it_was_not_asked_for(get: Get) -> None:
    body = gzip.compress(b"first " * 10_000) + gzip.compress(b"second")
    for packed in (body, body + b"\0" * 20):
        with Server(plain(packed, "200 OK", GZIP)) as server:
            downloaded = get(server.url)
        assert downloaded.path is not None
        assert downloaded.path.read_bytes() == b"first " * 10_000 + b"second"
    with Server(plain(b"", "200 OK", GZIP)) as server:
        assert get(server.url).size == 0


@pytest.mark.parametrize(
    ("body", "encoding", "fault"),
    [
        (gzip.compress(b"0" * 100_000_000, 9), "gzip", TooLarge),
        (gzip.compress(b"") * 10_000, "gzip", TooLarge),
        (gzip.compress(b"page")[:-3], "gzip", Cut),
        (b"no gzip at all", "x-gzip", Unreadable),
        (b"x" * 100_001, "identity", TooLarge),
        (b"x", "deflate", Encoded),
        (b"x", "br", Encoded),
        (b"x", "gzip, gzip", Encoded),
    ],
    ids=["bomb", "of nothing", "cut", "none", "long", "deflate", "br", "twice"],
)
def test_a_body_that_is_too_large_or_cannot_be_unpacked_leaves_no_file(
    get: Get, tmp_path: Path, body: bytes, encoding: str, fault: type[OutboundFault]
) -> None:
    with Server(plain(body, "200 OK", f"Content-Encoding: {encoding}")) as server, pytest.raises(fault):
        get(server.url)
    assert list(tmp_path.iterdir()) == []


def test_of_a_body_without_end_the_beginning_is_kept_where_that_is_wanted(get: Get, tmp_path: Path) -> None:
    def endless(connection: socket.socket, _: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with Server(endless) as server:
        with pytest.raises(TooLarge, match=r"larger than 100000 bytes\."):
            get(server.url)
        assert list(tmp_path.iterdir()) == []
        assert get(server.url, truncates=True).size == 100_000
    with Server(plain(b"x" * 200_000)) as server:
        assert get(server.url, truncates=True).size == 100_000


def test_who_sees_the_headers_says_how_much_is_read(get: Get) -> None:
    def bound(url: str, headers: Any) -> int:
        if headers["content-type"] == "image/png":
            raise PermissionError
        return 10 if url.endswith("/b") else 3

    answers = routes(
        a=redirect("/b"),
        b=plain(b"0123456789", "200 OK", "Content-Type: text/html"),
        c=plain(b"0123456789", "200 OK", "Content-Type: text/html"),
        d=plain(b"0123456789", "200 OK", "Content-Type: image/png"),
    )
    with Server(answers) as server:
        assert get(f"{server.url}/a", most_bytes=bound).size == 10
        with pytest.raises(TooLarge):
            get(f"{server.url}/c", most_bytes=bound)
        with pytest.raises(PermissionError):
            get(f"{server.url}/d", most_bytes=bound)


def test_one_deadline_is_for_all_hops(get: Get, tmp_path: Path) -> None:
    def slow(connection: socket.socket, line: str) -> None:
        time.sleep(0.15)
        redirect("/")(connection, line)

    def dripping(connection: socket.socket, _: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.01)

    for answer in (slow, dripping):
        with Server(answer) as server, pytest.raises(TimedOut):
            get(server.url, seconds=0.3)
    assert list(tmp_path.iterdir()) == []


def test_a_stop_ends_a_download_and_leaves_no_file(get: Get, tmp_path: Path) -> None:
    def stalled(connection: socket.socket, _: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of")
        until_left(connection)

    stop = Interruption()
    with Server(stalled) as server:
        threading.Timer(0.1, stop.request).start()
        with pytest.raises(Interrupted):
            get(server.url, interruption=stop)
        assert server.left.wait(5)
    assert list(tmp_path.iterdir()) == []

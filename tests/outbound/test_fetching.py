"""What is sent and read: few bytes, nothing followed, nothing unpacked, nothing in the log."""

import gzip
import json
import logging
import socket
import time
from typing import Any

import pytest

from bedrock_chat.outbound import fetching
from bedrock_chat.outbound.exchange import Request
from bedrock_chat.outbound.faults import (
    Cut,
    Encoded,
    NotEncrypted,
    OutboundFault,
    Refused,
    TooLarge,
    Unreachable,
    Unreadable,
)
from bedrock_chat.outbound.fetching import MOST_BYTES, Response
from bedrock_chat.outbound.targets import parse
from bedrock_chat.process.interruption import Interruption
from tests.outbound.conftest import Post
from tests.outbound.servers import Names, Server, plain, raw
from tests.servers import free_port

pytestmark = pytest.mark.usefixtures("local")


def test_json_is_posted_and_the_answer_is_whole(post: Post) -> None:
    with Server(plain(b'{"found":[1]}', "201 Created", "X-Request-Id: 7")) as server:
        response = post(f"{server.url}/v2/search?q=1", {"query": "größe"})
        [request] = server.requests
    assert (response.status, response.body, response.headers["x-request-id"]) == (201, b'{"found":[1]}', "7")
    head, _, body = request.partition("\r\n\r\n")
    assert head.startswith("POST /v2/search?q=1 HTTP/1.1\r\n")
    assert json.loads(body.encode("latin-1")) == {"query": "größe"}
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
    assert fields["accept-encoding"] == "identity"
    assert fields["content-type"] == "application/json"
    assert (fields["user-agent"], fields["connection"]) == ("bedrock-chat", "close")


def test_a_call_costs_no_more_than_the_way_there(post: Post) -> None:
    """Without TCP_NODELAY the second packet of a request waits for 40 ms."""
    with Server(plain()) as server:
        durations = []
        for _ in range(20):
            started = time.perf_counter()
            post(server.url, {"text": "x" * 3000})
            durations.append(time.perf_counter() - started)
        assert min(durations) < 0.03  # the quickest: another may have waited for a busy machine


def test_the_interruption_knows_whether_the_request_was_sent(post: Post, settings: Any) -> None:
    interruption = Interruption()
    with pytest.raises(Unreachable):
        post(f"http://127.0.0.1:{free_port()}/", interruption=interruption)
    assert not interruption.was_sent
    with Server(plain()) as server:
        post(server.url, interruption=interruption)
    assert interruption.was_sent


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, "The server answered with a redirect, which is not followed (301)."),
        (401, "The server refuses the credential, or what was asked for (401)."),
        (403, "The server refuses the credential, or what was asked for (403)."),
        (404, "The server does not have what was asked for (404)."),
        (418, "The server refused the request (418)."),
        (429, "The server refuses further requests for now (429)."),
        (500, "The server failed (500)."),
    ],
)
def test_any_status_is_an_answer_and_has_a_sentence(post: Post, status: int, reason: str) -> None:
    with Server(plain(b"", f"{status} Odd")) as server:
        response = post(server.url)
    assert response.status == status
    with pytest.raises(Refused) as refused:
        response.require_success()
    assert refused.value.reason == reason
    Response(204, {}, b"").require_success()


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_answer_and_is_not_followed(post: Post, status: str) -> None:
    with Server(plain()) as other, Server(plain(b"", status, f"Location: {other.url}/")) as server:
        assert post(server.url).status == int(status[:3])
        assert not other.accepted.is_set()


# ---- Bodies ---------------------------------------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end"),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    ],
)
def test_a_body_of_any_form_is_read(post: Post, data: bytes, body: bytes) -> None:
    with Server(raw(data)) as server:
        assert post(server.url).body == body


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Cut),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi", Cut),
        (CHUNKED + b"5\r\nabc", Cut),
        (CHUNKED + b"no number\r\nabc", Cut),
        (CHUNKED + b"5" * 70_000, Unreadable),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Unreadable),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n", Unreadable),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", Unreadable),
        (b"HTTP/1.1 two hundred\r\n\r\n", Unreadable),
    ],
)
def test_what_is_no_whole_answer_is_a_fault(post: Post, data: bytes, fault: type[OutboundFault]) -> None:
    with Server(raw(data)) as server, pytest.raises(fault):
        post(server.url)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip", "x-unknown"])
def test_a_compressed_answer_is_refused_unread(post: Post, coding: str) -> None:
    bomb = gzip.compress(b"\0" * 10_000_000)
    with Server(plain(bomb, "200 OK", f"Content-Encoding: {coding}")) as server, pytest.raises(Encoded):
        post(server.url)
    with Server(raw(CHUNKED.replace(b"chunked", b"gzip, chunked"))) as server, pytest.raises(Encoded):
        post(server.url)


def test_an_answer_that_says_it_is_large_is_refused_unread(post: Post) -> None:
    sent = list[int]()

    def answer(connection: socket.socket, _: str) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n".encode())
        while True:
            sent.append(connection.send(b"x" * 65536))

    with Server(answer) as server:
        with pytest.raises(TooLarge, match=r"larger than 4 MB\."):
            post(server.url)
        assert server.left.wait(5)
    assert sum(sent) <= MOST_BYTES


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", CHUNKED + b"ffffffffff\r\n"], ids=["plain", "one chunk"])
def test_an_endless_answer_is_left_at_its_limit(post: Post, head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 100_000)

    def answer(connection: socket.socket, _: str) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x" * 65536)

    with Server(answer) as server:
        with pytest.raises(TooLarge, match=r"larger than 100000 bytes\."):
            post(server.url)
        assert server.left.wait(5)


def test_an_answer_at_its_limit_is_read(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MOST_BYTES", 1000)
    with Server(plain(b"x" * 1000)) as server:
        assert len(post(server.url).body) == 1000


# ---- Credentials and logs -------------------------------------------------------------------------------------------

CREDENTIAL = {"Authorization": "Bearer seeded-secret"}


def test_a_credential_is_sent_over_https_alone(names: Names, post: Post, settings: Any) -> None:
    names["public.test"] = [["8.8.8.8"]]
    names["half.test"] = [["127.0.0.1", "8.8.8.8"]]
    with Server(plain()) as server:
        with pytest.raises(NotEncrypted, match=r"A credential is sent over https alone\."):
            post(server.url, credential_headers=CREDENTIAL)
        assert not server.accepted.is_set()
        settings.OUTBOUND_HTTP_CREDENTIALS = True
        for name in ("public.test", "half.test"):
            with pytest.raises(NotEncrypted):
                post(f"http://{name}:{server.port}/", credential_headers=CREDENTIAL)
        assert post(server.url, credential_headers=CREDENTIAL).status == 200
        assert "\r\nAuthorization: Bearer seeded-secret\r\n" in server.requests[0]


def test_nothing_that_was_sent_is_in_the_log(post: Post, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.OUTBOUND_HTTP_CREDENTIALS = True
    odd = raw(b"HTTP/1.1 200 OK\r\nNo colon here\r\nContent-Length: 2\r\n\r\nhi")  # urllib3 warns of such a head
    answers = [odd, plain(b"seeded-secret", "500 seeded-secret"), raw(b"seeded-secret"), raw(b"")]
    reasons = list[str]()
    with caplog.at_level(logging.DEBUG):
        for answer in answers:
            with Server(answer) as server:
                reasons.append(_outcome(post, f"{server.url}/seeded-secret?key=seeded-secret"))
        reasons.append(_outcome(post, "http://10.0.0.1/seeded-secret"))
    assert reasons == ["200", "500", "The server's answer is not HTTP.", Cut.sentence, "This address is not allowed."]
    assert "seeded-secret" not in caplog.text
    assert "seeded-secret" not in repr(Request("POST", parse("http://a/seeded-secret"), b"seeded-secret", CREDENTIAL))


def _outcome(post: Post, url: str) -> str:
    """The status of a call with secrets in all of its parts, or the fault's reason, which is logged with its trace."""
    try:
        body = {"query": "seeded-secret"}
        return str(post(url, body, credential_headers=CREDENTIAL).status)
    except OutboundFault as fault:
        logging.getLogger("test").exception("It failed.")
        return fault.reason


def test_a_header_cannot_carry_another_one(post: Post, settings: Any) -> None:
    settings.OUTBOUND_HTTP_CREDENTIALS = True
    with Server(plain()) as server:
        with pytest.raises(ValueError, match="Invalid header value"):
            post(server.url, credential_headers={"X-Kind": "a\r\nX-Other: b"})
        assert server.requests in ([], [""])

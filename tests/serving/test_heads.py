"""The heads of requests: what they may hold, and how long they may take."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.conftest import Live, eventually, memory_of_this_process, read_to_end, read_until, serving
from tests.serving.urls import stage

KILOBYTE = 1024
MEGABYTE = 1024 * 1024
CLOSE = b"Connection: close\r\n"


@pytest.fixture
def hasty() -> Iterator[Live]:
    """A server that gives a head half a second."""
    with serving(4, HEAD_TIMEOUT=0.5) as live:
        yield live


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> dict[str, Any]:
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b"content-type: application/json" in head.lower()
    assert b"connection: close" in head.lower()
    error: dict[str, Any] = json.loads(body)
    assert error["errors"] == [error["detail"]]
    return error


def send_until_refused(client: socket.socket, begin: bytes, piece: bytes, most: int) -> tuple[int, bytes]:
    """Sends `piece` again and again, `most` bytes in all. Returns how many went out, and the answer."""
    client.sendall(begin)
    sent = 0
    client.settimeout(0.01)
    answer = b""
    while sent < most and not answer:
        try:
            sent += client.send(piece)
            answer = client.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            break
    client.settimeout(5)
    with contextlib.suppress(ConnectionError):
        answer += read_to_end(client)
    return sent, answer


@pytest.mark.parametrize(
    "head",
    [
        b"GET /echo?" + b"a" * 70 * KILOBYTE + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 66 * KILOBYTE + b"\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\n" + b"X-" + b"a" * 66 * KILOBYTE + b": a\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\n"
        + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1000) for n in range(70))
        + b"\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * 100 + b"\r\n",
    ],
    ids=["address", "value", "name", "together", "fields"],
)
def test_a_head_over_64_kb_or_100_fields_is_431(server: Live, head: bytes) -> None:
    answer = server.raw(head)
    assert status_of(answer) == 431
    assert error_of(answer)["detail"] == "A request's head has at most 64 KB and 100 fields."


def test_a_page_may_read_why_its_head_was_refused(server: Live) -> None:
    head = b"GET /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\nX-A: " + b"a" * 66 * KILOBYTE + b"\r\n\r\n"
    assert b"access-control-allow-origin: *\r\n" in server.raw(head)


@pytest.mark.parametrize("allowed", [True, False])
def test_only_pages_of_allowed_origins_may(server: Live, settings: Any, allowed: bool) -> None:
    settings.CORS_ALLOW_ALL_ORIGINS = False
    settings.CORS_ALLOWED_ORIGINS = ["http://a.example"] if allowed else ["http://b.example"]
    head = b"GET /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\nX-A: " + b"a" * 66 * KILOBYTE + b"\r\n\r\n"
    assert (b"access-control-allow-origin: http://a.example\r\n" in server.raw(head)) == allowed


def test_a_head_just_within_the_bounds_is_read(server: Live) -> None:
    long = b"GET /echo?" + b"a" * 30 * KILOBYTE + b" HTTP/1.1\r\nHost: x\r\n" + CLOSE
    answer = server.raw(long + b"X-A: " + b"a" * 33 * KILOBYTE + b"\r\n\r\n")
    assert status_of(answer) == 200
    many = b"GET /echo HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"A: a\r\n" * 98 + b"\r\n"
    assert status_of(server.raw(many)) == 200


@pytest.mark.parametrize(
    "begin",
    [
        b"GET /",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-A: ",
    ],
    ids=["address", "value", "name", "chunk extension", "trailer"],
)
def test_what_does_not_end_is_not_kept(server: Live, begin: bytes) -> None:
    """A hundred megabytes are offered. The system's buffers take some; the process keeps a few kilobytes."""
    before = memory_of_this_process()
    started = time.monotonic()
    with server.connect() as client:
        sent, _ = send_until_refused(client, begin, b"a" * 16 * KILOBYTE, 100 * MEGABYTE)
    assert sent < 16 * MEGABYTE
    assert memory_of_this_process() - before < 8 * MEGABYTE
    assert time.monotonic() - started < 20
    assert server.json("GET", "/echo")["method"] == "GET"


def test_the_names_of_headers_are_not_kept(server: Live) -> None:
    def ask(number: int) -> None:
        name = b"X-%d-" % number + b"a" * 60 * KILOBYTE
        assert status_of(server.raw(b"GET /echo HTTP/1.1\r\nHost: x\r\n" + CLOSE + name + b": a\r\n\r\n")) == 200

    for number in range(20):
        ask(number)
    before = memory_of_this_process()
    for number in range(600):
        ask(number)
    assert memory_of_this_process() - before < 8 * MEGABYTE  # 600 such names are 36 MB


# ---- Time -----------------------------------------------------------------------------------------------------------


def test_a_head_that_is_late_is_told_so(hasty: Live) -> None:
    started = time.monotonic()
    answer = hasty.raw(b"GET /echo HTTP/1.1\r\nHost: x\r\n")
    assert status_of(answer) == 408
    assert "took over 0.5 seconds" in error_of(answer)["detail"]
    assert 0.4 < time.monotonic() - started < 10


def test_a_head_that_drips_has_no_more_time(hasty: Live) -> None:
    started = time.monotonic()
    with hasty.connect() as client:
        client.settimeout(0.1)
        answer = b""
        while not answer:
            client.sendall(b"G" if time.monotonic() - started < 0.1 else b"E")
            try:
                answer = client.recv(65536)
            except TimeoutError:
                continue
    assert status_of(answer) in (400, 408)
    assert time.monotonic() - started < 10


def test_a_connection_that_says_nothing_is_closed(hasty: Live) -> None:
    started = time.monotonic()
    assert hasty.raw(b"") == b""
    assert 0.4 < time.monotonic() - started < 10


def test_a_kept_connection_may_rest_for_longer_than_a_head_may_take(hasty: Live) -> None:
    with hasty.connect() as client:
        for _ in range(2):
            client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            read_until(client, b'"language"')
            time.sleep(0.8)
        client.sendall(b"GET /echo HTTP/1.1\r\n")  # from this byte on the time runs
        started = time.monotonic()
        assert status_of(read_to_end(client)) == 408
        assert 0.4 < time.monotonic() - started < 10


def test_a_long_answer_does_not_count_as_a_slow_head(hasty: Live) -> None:
    """While one request is answered, the beginning of the next one waits: that is not its client's fault."""
    from tests.serving.urls import stage

    with hasty.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\n")
        time.sleep(0.8)
        stage.gate.set()
        read_until(client, b"done")
        client.sendall(b"Host: x\r\n\r\n")
        assert b'"path": "/echo"' in read_until(client, b'"language"')


# ---- HTTP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"identity", b"br"])
def test_an_unknown_transfer_coding_is_501(server: Live, coding: bytes) -> None:
    answer = server.raw(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + coding + b"\r\n\r\n")
    assert status_of(answer) == 501
    error_of(answer)


@pytest.mark.parametrize("hosts", [b"", b"Host: x\r\nHost: y\r\n"])
def test_a_request_names_one_host(server: Live, hosts: bytes) -> None:
    answer = server.raw(b"GET /echo HTTP/1.1\r\n" + hosts + b"\r\n")
    assert status_of(answer) == 400
    assert error_of(answer)["detail"] == "A request has one Host header."


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
)
def test_what_is_no_http_is_400_in_our_shape(server: Live, garbage: bytes) -> None:
    answer = server.raw(garbage)
    assert status_of(answer) == 400
    error_of(answer)


def test_http_1_0_gets_no_chunks(server: Live) -> None:
    head, body = server.raw(b"GET /lines?count=3 HTTP/1.0\r\n\r\n").split(b"\r\n\r\n", 1)
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body.startswith(b"0 xxx")
    assert body.endswith(b"threads: 1\n")


def test_http_1_0_gets_a_length_where_there_is_one(server: Live) -> None:
    head, body = server.raw(b"GET /echo HTTP/1.0\r\n\r\n").split(b"\r\n\r\n", 1)
    assert b"content-length: %d" % len(body) in head.lower()
    assert json.loads(body)["path"] == "/echo"
    assert server.raw(b"HEAD /lines HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


def test_requests_that_come_together_are_answered_in_turn(server: Live) -> None:
    request = b"GET /echo?n=%d HTTP/1.1\r\nHost: x\r\n\r\n"
    with server.connect() as client:
        client.sendall(b"".join(request % number for number in range(5)))
        received = b""
        while received.count(b'"language"') < 5:
            received += client.recv(65536)
    assert [received.index(b"n=%d" % number) for number in range(5)] == sorted(
        received.index(b"n=%d" % n) for n in range(5)
    )


def test_a_fault_behind_a_good_request_ends_the_connection_after_its_answer(server: Live) -> None:
    answer = server.raw(b"GET /nap HTTP/1.1\r\nHost: x\r\n\r\nGET /echo HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n")
    assert status_of(answer) == 200
    assert b"rested" in answer


def test_trailers_are_left_out(server: Live) -> None:
    answer = server.raw(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\na\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
    )
    assert status_of(answer) == 200
    assert b"6.6.6.6" not in answer


def test_an_upgrade_that_this_server_does_not_know_is_answered_as_plain_http(server: Live) -> None:
    answer = server.raw(
        b"GET /echo HTTP/1.1\r\nHost: x\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n\r\n"
    )
    assert status_of(answer) == 200
    assert b'"path": "/echo"' in answer


def test_a_refused_client_that_goes_on_sending_is_let_go(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nX-A: " + b"a" * 90 * KILOBYTE)
        assert b" 431 " in read_until(client, b"\r\n\r\n")
        started = time.monotonic()

        def is_closed() -> bool:
            try:
                client.send(b"a")
            except ConnectionError:
                return True
            return False

        assert eventually(is_closed, 5)
        assert time.monotonic() - started > 1


# ---- Requests behind others -----------------------------------------------------------------------------------------


def test_requests_behind_one_that_is_being_answered_are_few() -> None:
    """One read brings in thousands of them."""
    with serving(4) as live:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(live.connect()) for _ in range(16)]
            before = memory_of_this_process()
            for client in clients:
                client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nHost:a\r\n\r\n" * 9000)
            time.sleep(1)
            assert memory_of_this_process() - before < 16 * 2 * MEGABYTE
        stage.gate.set()


def test_eight_requests_may_wait_behind_another(server: Live) -> None:
    nine = b"GET /nap HTTP/1.1\r\nHost: x\r\n\r\n" * 8 + b"GET /nap HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert server.raw(nine).count(b"HTTP/1.1 200 ") == 9


def test_a_faulty_request_cuts_off_no_answer_before_it() -> None:
    with serving(4) as live, live.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert eventually(lambda: "waiting" in stage.happened)
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        time.sleep(0.2)
        stage.gate.set()
        answer = read_to_end(client)
    assert answer.index(b"done") < answer.index(b"HTTP/1.1 400 ")


def test_a_connection_that_answers_is_not_taken_for_a_silent_one() -> None:
    with serving(4) as live, live.connect() as client:
        registry = live.server.config.http.keywords["registry"]  # type: ignore[union-attr]
        nap, wait = (f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for name in ("nap", "wait"))
        client.sendall(nap + wait + nap[:10])
        assert eventually(lambda: "waiting" in stage.happened)
        time.sleep(0.1)
        assert not registry._headless
        stage.gate.set()

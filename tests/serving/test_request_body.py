"""Request bodies arrive whole, or are refused, before a thread is taken."""

import hashlib
import json
import socket
import time

from tests.serving.conftest import Live, eventually, read_to_end

MEGABYTE = 1024 * 1024


def test_a_chunked_body_arrives_whole_and_with_a_length(server: Live) -> None:
    body = bytes(range(256)) * 1000
    answer = server.json("POST", "/echo", iter([body[:1000], body[1000:]]), X_Caller="alice")
    assert answer["length"] == len(body)
    assert answer["content_length"] == str(len(body))
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()


def test_a_body_too_large_for_memory_arrives_whole(server: Live, settings) -> None:
    settings.MAX_BODY_MB = 10
    body = b"0123456789abcdef" * (6 * MEGABYTE // 16)
    answer = server.json("POST", "/echo", body, X_Caller="alice")
    assert answer["length"] == len(body)
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()


def test_a_body_of_exactly_the_limit_is_accepted(server: Live) -> None:
    assert server.json("POST", "/echo", bytes(MEGABYTE), X_Caller="alice")["length"] == MEGABYTE


def test_a_body_declared_too_large_is_refused_without_reading_it(server: Live) -> None:
    started = time.monotonic()
    answer = server.raw(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MEGABYTE + 1))
    head, body = answer.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    assert json.loads(body) == {
        "detail": "The request body is larger than 1 MB.",
        "errors": ["The request body is larger than 1 MB."],
    }
    assert time.monotonic() - started < 5


def test_a_client_that_waits_for_100_is_refused_instead(server: Live) -> None:
    answer = server.raw(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_that_grows_too_large_is_refused_and_the_connection_closed(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nX-Caller: alice\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(40):  # 2.5 MB, which the client sends to the end before it looks for an answer
            client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 1 MB" in answer


def test_stalled_uploads_take_no_thread_and_end_in_time(server: Live) -> None:
    clients = [server.connect() for _ in range(20)]  # more than there are threads
    for client in clients:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegun")
    time.sleep(0.1)
    assert server.threads.busy == 0
    assert server.json("GET", "/echo")["length"] == 0
    for client in clients:
        answer = read_to_end(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"errors":["The request body stalled' in answer
        client.close()


def test_a_slow_upload_that_keeps_coming_is_not_stalled(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            time.sleep(0.15)
            client.sendall(b"x")
        assert b'"length": 5' in read_to_end(client)


def test_a_client_who_leaves_in_mid_upload_never_reaches_django(server: Live) -> None:
    before = server.threads.count
    with server.connect() as client:
        client.sendall(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nbegun")
    assert eventually(lambda: not server.server.server_state.connections)
    assert (server.threads.busy, server.threads.count) == (0, before)


def test_header_names_with_an_underscore_are_dropped(server: Live) -> None:
    with server.connect() as client:
        client.sendall(
            b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"X-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 6.6.6.6\r\nContent_Length: 7\r\n\r\n"
        )
        answer = json.loads(read_to_end(client).split(b"\r\n\r\n")[1])
    assert answer["headers"]["HTTP_X_FORWARDED_FOR"] == "10.0.0.1"
    assert "HTTP_CONTENT_LENGTH" not in answer["headers"]
    assert answer["content_length"] == "0"


def test_forwarded_addresses_are_not_believed_here(server: Live) -> None:
    assert server.json("GET", "/echo", X_Forwarded_For="6.6.6.6")["client"] == "127.0.0.1"


def test_repeated_headers_and_cookies_are_joined(server: Live) -> None:
    with server.connect() as client:
        client.sendall(
            b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: a\r\nAccept: b\r\n"
            b"Cookie: a=1\r\nCookie: b=2\r\n\r\n"
        )
        headers = json.loads(read_to_end(client).split(b"\r\n\r\n")[1])["headers"]
    assert headers["HTTP_ACCEPT"] == "a,b"
    assert headers["HTTP_COOKIE"] == "a=1; b=2"


def test_paths_and_queries_keep_their_bytes(server: Live) -> None:
    assert server.json("GET", "/echo?q=%C3%A9&r=%ff")["query"] == "q=%C3%A9&r=%ff"
    for path in (b"/%ff%fe", b"/%00", b"/" + b"%C3%A9" * 50, b"//echo", b"*", b"http://x/nothing", b"/?%ff=%ff"):
        answer = server.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), path


def test_an_absolute_address_asks_for_its_path(server: Live) -> None:
    answer = server.raw(b"GET http://x:80/echo?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b'"path": "/echo", "query": "a=b"' in answer


def test_a_half_closed_or_silent_connection_harms_nobody(server: Live) -> None:
    with server.connect() as silent, server.connect() as half:
        half.sendall(b"GET /echo HTTP/1.1\r\nHo")
        half.shutdown(socket.SHUT_WR)
        assert server.json("GET", "/echo")["method"] == "GET"
        assert silent.fileno() >= 0

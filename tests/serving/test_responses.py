"""Ordinary responses, as HTTP wants them, and the threads they run on."""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bedrock_chat.asgi import application
from tests.serving.conftest import Live, eventually, read_until, serving
from tests.serving.urls import stage


def test_a_hundred_slow_requests_are_all_answered_by_sixteen_threads(server: Live) -> None:
    with ThreadPoolExecutor(100) as clients:
        answers = list(clients.map(lambda _: server.request("GET", "/nap").read(), range(100)))
    assert answers == [b"rested"] * 100
    assert server.threads.count <= 16


def test_short_requests_are_answered_while_slow_ones_wait(server: Live) -> None:
    with ThreadPoolExecutor(15) as clients:
        waiting = [clients.submit(lambda: server.request("GET", "/wait").read()) for _ in range(15)]
        assert eventually(lambda: len(stage.happened) == 15)
        for _ in range(10):
            assert server.json("GET", "/echo")["method"] == "GET"
        assert "done" not in stage.happened
        stage.gate.set()
        assert [answer.result() for answer in waiting] == [b"done"] * 15


def test_one_client_at_a_time_keeps_to_few_threads_after_a_peak() -> None:
    with serving(16) as server:
        with ThreadPoolExecutor(16) as clients:
            list(clients.map(lambda _: server.request("GET", "/nap").read(), range(16)))
        peak = server.threads.count
        assert peak > 4
        used = set()
        original = server.threads.submit

        def submit(job):
            original(lambda: (used.add(threading.current_thread().name), job()))

        server.threads.submit = submit
        for _ in range(30):
            server.request("GET", "/echo").read()
        assert len(used) <= 4
        assert server.threads.count == peak


def test_a_connection_is_kept_for_several_requests(server: Live) -> None:
    with server.connect() as client:
        for number in range(3):
            client.sendall(b"GET /echo?n=%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            assert b'"query": "n=%d"' % number in read_until(client, b'"language"')


def test_head_answers_the_length_without_the_body(server: Live) -> None:
    answer = server.raw(b"HEAD /nap HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"content-length: 6" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/events", "/lines", "/file?size=100000"])
def test_head_of_a_stream_ends_at_once_and_closes_it(server: Live, path: str) -> None:
    answer = server.raw(b"HEAD " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")
    assert stage.file.closed if "file" in path else stage.closed_on
    assert eventually(lambda: server.threads.busy == 0)


@pytest.mark.parametrize("code", [204, 304])
def test_204_and_304_have_neither_body_nor_length(server: Live, code: int) -> None:
    with server.connect() as client:
        client.sendall(b"GET /status/%d HTTP/1.1\r\nHost: x\r\n\r\n" % code)
        client.sendall(b"GET /nap HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = read_until(client, b"rested")
    first, second = answer.split(b"HTTP/1.1 200 ", 1)
    assert first.startswith(b"HTTP/1.1 %d " % code)
    assert b"content-length" not in first
    assert b"not to be seen" not in first
    assert second.endswith(b"rested")


def test_an_exception_in_a_view_is_a_500_that_says_nothing_of_the_inside(server: Live) -> None:
    for path in ("/crash", "/unreadable", "/leave"):
        response = server.request("GET", path)
        body = response.read()
        assert response.status == 500
        assert response.headers["content-type"] == "application/json"
        assert set(json.loads(body)) == {"detail", "errors"}
        assert b"secret" not in body
    assert eventually(lambda: server.threads.busy == 0)


def test_what_a_request_binds_is_not_there_for_the_next_on_its_thread() -> None:
    with serving(1) as server:
        assert server.request("GET", "/speak").read() == b"gesprochen"
        assert server.json("GET", "/echo")["language"] != "de"


def test_work_whose_client_left_is_done_to_its_end(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert eventually(lambda: stage.happened == ["waiting"])
    time.sleep(0.05)
    assert stage.happened == ["waiting"]
    stage.gate.set()
    assert eventually(lambda: stage.happened == ["waiting", "done"])
    assert eventually(lambda: server.threads.busy == 0)


def test_a_websocket_elsewhere_is_refused_before_it_is_accepted() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    asyncio.run(application({"type": "websocket", "path": "/elsewhere"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1000}]


def test_an_upgrade_to_a_path_without_websocket_is_no_server_error(server: Live) -> None:
    answer = server.raw(
        b"GET /elsewhere HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 404 "))

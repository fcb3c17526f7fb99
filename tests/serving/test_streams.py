"""Responses that stream: which threads wait, and that everything is closed and freed whatever happens."""

import asyncio
import contextvars
import time
from typing import Any

import pytest
from django.test import override_settings

from bedrock_chat.process.thread_pool import ThreadPool
from bedrock_chat.serving.application import Handler
from bedrock_chat.serving.bridge import Bridge
from bedrock_chat.serving.environ import wsgi_environ
from tests.serving.conftest import SETTINGS, Live, NoOutflow, eventually, read_to_end, read_until
from tests.serving.urls import stage


def test_events_arrive_before_the_end_and_no_thread_waits_for_the_next(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"second" not in read_until(client, b"first")
        assert eventually(lambda: server.threads.busy == 0)
        stage.gate.set()
        assert b"second" in read_to_end(client)
    assert eventually(lambda: stage.closed_on)
    assert stage.closed_on[0].startswith("request-")
    assert stage.happened == ["generator closed"]


def test_more_streams_than_threads_wait_side_by_side_with_ordinary_requests(server: Live) -> None:
    clients = [server.connect() for _ in range(50)]
    for client in clients:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for client in clients:
        read_until(client, b"200 OK")
    assert server.json("GET", "/echo")["method"] == "GET"
    stage.gate.set()
    assert all(b"second" in read_to_end(client) for client in clients)
    assert eventually(lambda: len(stage.closed_on) == 50)


def test_a_client_who_leaves_ends_the_stream(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(client, b"first")
    assert eventually(lambda: stage.closed_on and stage.happened)
    assert stage.happened == ["generator closed"]
    assert stage.closed_on[0].startswith("request-")
    assert len(stage.closed_on) == 1
    assert server.threads.busy == 0


def test_a_stream_that_fails_breaks_off_without_a_proper_end(server: Live) -> None:
    with server.connect() as client:
        client.sendall(b"GET /events?fail=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(client, b"first")
        stage.gate.set()
        rest = read_to_end(client)
    assert not rest.endswith(b"0\r\n\r\n")
    assert eventually(lambda: len(stage.closed_on) == 1)
    assert eventually(lambda: server.threads.busy == 0)


def test_a_synchronous_stream_stays_on_its_one_thread(server: Live) -> None:
    answer = server.raw(b"GET /lines?count=5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"\n4 xxx" in answer
    assert b"threads: 1\n" in answer
    assert eventually(lambda: stage.closed_on and server.threads.busy == 0)


def test_a_synchronous_stream_ends_when_its_reader_leaves(server: Live) -> None:
    with server.connect(receive_buffer=4096) as client:
        client.sendall(b"GET /lines?count=100000 HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    assert eventually(lambda: stage.closed_on and server.threads.busy == 0)
    assert len(stage.happened) < 100_000


def test_a_slow_reader_of_a_large_file_holds_neither_memory_nor_a_thread(server: Live) -> None:
    size = 64 * 1024 * 1024
    with server.connect(receive_buffer=65536) as client:
        client.sendall(b"GET /file?size=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % size)
        client.recv(1000)
        time.sleep(0.3)
        assert stage.file.position < size // 4
        assert server.threads.busy == 0
        read = 0
        while data := client.recv(1024 * 1024):
            read += len(data)
    assert read > size - 1000
    assert eventually(lambda: stage.file.closed)


def test_a_file_is_read_in_large_blocks(server: Live) -> None:
    assert len(server.request("GET", "/file?size=1000000").read()) == 1_000_000
    assert stage.file.read_sizes == {256 * 1024}


SCOPE = {
    "type": "http",
    "method": "GET",
    "http_version": "1.1",
    "scheme": "http",
    "headers": [(b"host", b"x")],
    "server": ("127.0.0.1", 80),
    "client": ("127.0.0.1", 1),
}


async def until_cancelled() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("path", "query"), [("/events", b""), ("/lines", b"count=1000"), ("/file", b"size=9000000"), ("/nap", b"")]
)
@pytest.mark.parametrize("fails_at", ["http.response.start", "http.response.body"])
def test_a_send_that_fails_ends_the_response_and_frees_its_thread(path: str, query: bytes, fails_at: str) -> None:
    async def send(message: dict[str, Any]) -> None:
        if message["type"] == fails_at:
            raise ConnectionResetError("the socket broke")

    async def ask() -> None:
        environ = wsgi_environ({**SCOPE, "raw_path": path.encode(), "query_string": query})
        environ["wsgi.input"] = Closeable()
        bridge = Bridge(threads, Handler())
        await bridge.send(
            await bridge.handle(environ, until_cancelled), until_cancelled, send, outflow=NoOutflow(), caller="alice"
        )

    threads = ThreadPool(2)
    with override_settings(**SETTINGS), pytest.raises(ConnectionResetError):
        asyncio.run(ask())
    assert eventually(lambda: threads.busy == 0)
    if path == "/file":
        assert stage.file.closed
    elif path != "/nap":
        assert len(stage.closed_on) == 1
    threads.stop()


class Closeable:
    def read(self, size: int = -1) -> bytes:
        return b""

    readline = read

    def close(self) -> None:
        stage.note("input closed")


def test_a_stream_nobody_waits_for_any_more_is_closed() -> None:
    async def ask_and_give_up() -> None:
        environ = wsgi_environ({**SCOPE, "raw_path": b"/events", "query_string": b""})
        environ["wsgi.input"] = Closeable()
        asking = asyncio.create_task(Bridge(threads, Slow()).handle(environ, until_cancelled))
        assert await asyncio.to_thread(eventually, lambda: stage.happened == ["asked"])
        asking.cancel()
        stage.gate.set()
        assert await asyncio.to_thread(eventually, lambda: stage.closed_on)

    class Slow(Handler):
        def get_response(self, request: Any) -> Any:
            stage.note("asked")
            stage.gate.wait(5)
            return super().get_response(request)

    threads = ThreadPool(2)
    with override_settings(**SETTINGS):
        asyncio.run(ask_and_give_up())
    assert stage.happened == ["asked", "input closed"]
    assert eventually(lambda: threads.busy == 0)
    threads.stop()


REQUEST = contextvars.ContextVar("REQUEST", default="none")


def test_a_stream_still_knows_what_its_request_bound() -> None:
    from django.http import StreamingHttpResponse

    async def parts() -> Any:
        yield REQUEST.get()

    class Binding(Handler):
        def get_response(self, request: Any) -> Any:
            REQUEST.set("bound")
            return StreamingHttpResponse(parts())

    sent: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))

    async def ask() -> None:
        environ = wsgi_environ({**SCOPE, "raw_path": b"/events", "query_string": b""})
        environ["wsgi.input"] = Closeable()
        bridge = Bridge(threads, Binding())
        await bridge.send(
            await bridge.handle(environ, until_cancelled), until_cancelled, send, outflow=NoOutflow(), caller="alice"
        )
        assert REQUEST.get() == "none"

    threads = ThreadPool(1)
    with override_settings(**SETTINGS):
        asyncio.run(ask())
    assert b"".join(sent) == b"bound"
    threads.stop()

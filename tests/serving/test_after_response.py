"""What is done once a client has its response, and responses that go out in one piece."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from bedrock_chat.process.thread_pool import ThreadPool
from bedrock_chat.serving.bridge import Bridge
from bedrock_chat.serving.outflow import Outflow
from bedrock_chat.wire.requests import AFTER_RESPONSE
from tests.serving.conftest import Live, eventually, read_until, serving

LOGGED = {"MIDDLEWARE": ["bedrock_chat.logs.AccessLogMiddleware"]}
GET = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"


class SlowLog(logging.Handler):
    """Writes nothing before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_write = threading.Event()
        self.statuses: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.may_write.wait(10)
        event: Any = record.msg
        self.statuses.append(event["status"])


@pytest.fixture
def slow_log() -> Iterator[SlowLog]:
    handler = SlowLog()
    logger = logging.getLogger("bedrock_chat.request")
    logger.addHandler(handler)
    yield handler
    handler.may_write.set()
    logger.removeHandler(handler)


def test_a_client_does_not_wait_for_the_line_of_its_request(slow_log: SlowLog) -> None:
    with serving(2, **LOGGED) as server, server.connect() as client:
        client.sendall(GET)
        assert b"200 OK" in read_until(client, b"GET")
        assert slow_log.statuses == []
        slow_log.may_write.set()
        assert eventually(lambda: slow_log.statuses == [200])


def test_a_client_that_has_left_has_its_line_too(slow_log: SlowLog) -> None:
    with serving(2, **LOGGED) as server:
        with server.connect() as client:
            client.sendall(GET)
        slow_log.may_write.set()
        assert eventually(lambda: slow_log.statuses == [200])


def test_the_end_of_the_process_waits_for_what_is_left_to_do() -> None:
    may_end, done = threading.Event(), list[str]()

    def handler(environ: dict[str, Any], start_response: Any) -> Any:
        environ[AFTER_RESPONSE].append(lambda: (may_end.wait(10), done.append("line")))
        raise RuntimeError("a response that nobody could make")

    class Body:
        def close(self) -> None:
            pass

    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is read")

    async def end() -> tuple[list[str], list[str]]:
        bridge = Bridge(ThreadPool(1), handler)  # type: ignore[arg-type]  # called like Django's
        assert (await bridge.handle({"REQUEST_METHOD": "GET", "wsgi.input": Body()}, receive)).status == 500
        await bridge.finish(0.05)
        before = list(done)
        may_end.set()
        await bridge.finish(10)
        return before, done

    assert asyncio.run(end()) == ([], ["line"])


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def writelines(self, pieces: Any) -> None:
        self.writes.append(b"".join(pieces))

    def close(self) -> None:
        self.writes.append(b"closed")


def test_a_head_and_its_body_go_out_as_one_and_later_writes_alone() -> None:
    wire = Wire()
    outflow = Outflow(wire)
    outflow.join()
    for data in (b"head", b"body", b"more"):
        outflow.write(data)
    assert wire.writes == [b"headbody", b"more"]


def test_a_head_without_its_body_goes_out_before_the_connection_is_closed() -> None:
    wire = Wire()
    outflow = Outflow(wire)
    outflow.join()
    outflow.write(b"head")
    outflow.close()
    assert wire.writes == [b"head", b"closed"]


def test_the_answer_to_head_is_sent_at_once_on_a_connection_that_stays(server: Live) -> None:
    with server.connect() as client:
        for _ in range(2):
            client.sendall(b"HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK")

"""Requests that wait hold a connection and nothing else, and each is answered once."""

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import override_settings

from bedrock_chat.process import heartbeat, shutdown, watching
from bedrock_chat.process.watching import Topic
from bedrock_chat.serving.application import THREADS_AFTER_WAITS
from bedrock_chat.serving.waits import Wait, waits
from tests.serving.conftest import Live, eventually, read_until, serving
from tests.serving.urls import PATIENT, stage

THREADS = 4
LOGGED = {"MIDDLEWARE": ["bedrock_chat.logs.AccessLogMiddleware"], "WAITS": 100}


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with serving(THREADS, **LOGGED) as live:
        yield live


@pytest.fixture(autouse=True)
def _looking() -> None:
    watching.register(PATIENT, lambda names: stage.answered.intersection(names))


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append(record.msg)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("bedrock_chat.request")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def asking(server: Live, name: str = "a", seconds: float = 20) -> socket.socket:
    """A client whose request waits."""
    before, client = waits.count(), server.connect()
    client.sendall(b"GET /patient/%s?seconds=%g HTTP/1.1\r\nHost: x\r\n\r\n" % (name.encode(), seconds))
    assert eventually(lambda: waits.count() == before + 1)
    return client


def answer(client: socket.socket) -> str:
    """The text of the response."""
    with client:
        return read_until(client, b"]").partition(b"\r\n\r\n")[2].decode()


def tell(name: str) -> None:
    stage.answered.add(name)
    watching.tell(Topic(PATIENT, name))


def test_a_request_waits_until_it_happens_and_is_called_again_as_it_came(server: Live, lines: Lines) -> None:
    client = asking(server)
    time.sleep(0.2)
    tell("a")
    assert answer(client) == "[after: answered, without what the first call had noted]"
    assert eventually(lambda: len(lines.events) == 1), "a request has one line"
    event = lines.events[0]
    assert event["duration_ms"] >= event["waited_ms"] >= 200
    assert stage.request_ids == [event["request_id"]] * 2
    assert waits.count() == 0


def test_what_nobody_tells_is_looked_for(server: Live) -> None:
    heartbeat.start()
    client = asking(server)
    stage.answered.add("a")
    started = time.monotonic()
    assert answer(client).startswith("[after: answered")
    assert time.monotonic() - started < 5


def test_what_happened_before_the_wait_began_is_not_missed(server: Live) -> None:
    heartbeat.start()
    stage.answered.add("a")
    assert answer(asking(server)).startswith("[after: answered")


def test_when_its_time_is_up_a_request_is_told_what_is_true(server: Live) -> None:
    started = time.monotonic()
    assert answer(asking(server, seconds=0.2)).startswith("[after: nothing yet")
    assert 0.2 <= time.monotonic() - started < 10


def test_beyond_the_places_the_answer_is_given_at_once(server: Live, lines: Lines) -> None:
    with override_settings(WAITS=2):
        first, second = asking(server), asking(server)
        assert server.request("GET", "/patient/a?seconds=20").read() == b"[nothing yet]"
        assert eventually(lambda: len(lines.events) == 1), "it has its line too"
        tell("a")
        assert {answer(first)[:7], answer(second)[:7]} == {"[after:"}


def test_a_server_with_few_connections_has_few_places(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "most", 1)
    with asking(server):
        assert server.request("GET", "/patient/a?seconds=20").read() == b"[nothing yet]"
    assert eventually(lambda: waits.count() == 0)


def test_more_may_wait_than_there_are_threads(server: Live) -> None:
    clients = [asking(server, str(number)) for number in range(5 * THREADS)]
    assert eventually(lambda: server.threads.busy == 0)
    assert server.json("GET", "/echo")["path"] == "/echo"
    for number in range(5 * THREADS):
        tell(str(number))
    assert {answer(client)[:15] for client in clients} == {"[after: answere"}


def test_a_client_that_leaves_frees_its_place_at_once(server: Live, lines: Lines) -> None:
    client = asking(server)
    assert waits.count() == 1
    client.close()
    assert eventually(lambda: waits.count() == 0, 1)
    assert eventually(lambda: [event["status"] for event in lines.events] == [404]), "what it would have been told"
    assert "watching" not in heartbeat._heartbeat._beats


def test_one_event_that_wakes_many_leaves_threads_to_others() -> None:
    with serving(3 * THREADS_AFTER_WAITS, **LOGGED) as server:
        clients = [asking(server, seconds=20) for _ in range(4 * THREADS_AFTER_WAITS)]
        stage.pause, threads = 0.02, server.threads.count
        tell("a")
        with ThreadPoolExecutor(8) as pool:
            assert {text[:7] for text in pool.map(answer, clients)} == {"[after:"}
        assert stage.most_at_once <= THREADS_AFTER_WAITS
        assert server.threads.count == threads


def test_when_the_process_is_to_end_all_are_answered_at_once(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = [asking(server), asking(server)]
    assert shutdown.busy() >= 2, "the end waits for their answers"
    monkeypatch.setattr(shutdown, "_begun", True)
    server.server._loop.call_soon_threadsafe(shutdown.announce)
    assert {answer(client)[:19] for client in clients} == {"[after: nothing yet"}
    assert server.request("GET", "/patient/a?seconds=20").read() == b"[nothing yet]"
    assert eventually(lambda: shutdown.busy() == 0)


def test_a_wait_that_is_cancelled_leaves_nothing(server: Live) -> None:
    async def wait() -> None:
        async def receive() -> Any:
            await asyncio.Event().wait()

        waiting = asyncio.ensure_future(waits.over(Wait((Topic(PATIENT, "a"),), 20), receive))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait((waiting,))

    asyncio.run(wait())
    assert not watching._watching._waiting
    assert not waits._wakes


def test_the_next_request_on_the_connection_is_answered_as_ever(server: Live) -> None:
    client = asking(server)
    tell("a")
    assert b"[after" in read_until(client, b"]")
    client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
    with client:
        assert b"200 OK" in read_until(client, b"GET")

"""How many connections there may be, and which one gives way."""

import logging
import socket
import time
from collections.abc import Iterator

import pytest

from bedrock_chat.serving import connections
from bedrock_chat.serving.connections import Connections, Notice
from tests.serving.conftest import Live, eventually, read_to_end, read_until, serving
from tests.serving.urls import stage

LIMIT = 8
BEGIN = b"GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """A server for eight connections, with two in reserve."""
    monkeypatch.setattr(connections, "RESERVE", 2)
    with serving(16, LIMIT) as live:
        yield live


def is_closed(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_a_connection_at_rest_gives_way_first_the_one_that_rests_longest(crowded: Live) -> None:
    resting = [crowded.connect() for _ in range(LIMIT)]
    for client in resting:
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(client, b'"language"')
    assert crowded.json("GET", "/echo")["method"] == "GET"
    assert [is_closed(client) for client in resting] == [True] + [False] * (LIMIT - 1)


def test_then_one_that_says_nothing(crowded: Live) -> None:
    silent = [crowded.connect() for _ in range(LIMIT)]
    time.sleep(1.1)
    assert crowded.json("GET", "/echo")["method"] == "GET"
    assert sum(map(is_closed, silent)) == 1


def test_a_flood_of_silent_connections_keeps_nobody_out(crowded: Live) -> None:
    silent: list[socket.socket] = []
    for _ in range(3):
        silent += [crowded.connect() for _ in range(4 * LIMIT)]
        time.sleep(1.1)
        assert crowded.json("GET", "/echo")["method"] == "GET"
    for client in silent:
        client.close()


def test_no_request_in_work_gives_way_and_health_is_still_answered(
    crowded: Live, caplog: pytest.LogCaptureFixture
) -> None:
    busy = [crowded.connect() for _ in range(LIMIT)]
    for client in busy:
        client.sendall(BEGIN)
    assert eventually(lambda: stage.happened.count("waiting") == LIMIT)
    with caplog.at_level(logging.WARNING):
        refused = crowded.request("GET", "/echo")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert refused.headers["Content-Type"] == "application/json"
        assert crowded.request("GET", "/health").status == 404  # Django's answer: these tests have no such view
        assert crowded.request("GET", "/ready?a=b").status == 404
    assert "CONNECTIONS=8 are open and busy" in caplog.text
    stage.gate.set()
    for client in busy:
        assert read_to_end(client).endswith(b"done")
    assert eventually(lambda: len(crowded.server.server_state.connections) == 0)
    assert crowded.json("GET", "/echo")["method"] == "GET"


def test_beyond_the_reserve_a_connection_is_closed_at_once(crowded: Live) -> None:
    clients = [crowded.connect() for _ in range(LIMIT)]
    for client in clients:
        client.sendall(BEGIN)
    assert eventually(lambda: stage.happened.count("waiting") == LIMIT)
    reserve = [crowded.connect() for _ in range(2)]
    one_more = crowded.connect()
    assert eventually(lambda: is_closed(one_more))
    assert not any(map(is_closed, reserve))


def test_a_connection_that_ends_makes_room_whatever_it_was_doing() -> None:
    class Closable:
        aborted = False

        def abort(self) -> None:
            self.aborted = True

    now = 0.0
    registry = Connections(3, clock=lambda: now)
    headless, busy, idle, late = Closable(), Closable(), Closable(), Closable()
    for transport in (headless, busy, idle):
        assert registry.open(transport)
    registry.begin(busy)
    registry.begin(idle)
    registry.rest(idle)
    for transport in (headless, busy, idle):
        registry.close(transport)
    assert len(registry) == 0
    registry.rest(busy)  # its last response ends after it has gone
    for transport in (headless, busy, idle):
        assert registry.open(transport)
    now = 0.5
    assert registry.open(late)  # nobody has been headless for a second: it takes a place of the reserve
    assert (len(registry), registry.is_full()) == (4, True)
    assert not any(transport.aborted for transport in (headless, busy, idle, late))


def test_an_attack_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    notice = Notice("%s: %d", clock=lambda: now)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            notice.count("cases")
            now += 0.015
    assert [record.getMessage() for record in caplog.records] == ["cases: 1", "cases: 667"]

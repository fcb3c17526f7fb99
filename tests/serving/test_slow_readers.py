"""A client that does not take what it asked for: what waits for it is bounded, and below the floor it is let go."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from rest_framework.response import Response

from bedrock_chat.process.budget import Budget
from bedrock_chat.serving import answers, outflow, sending
from bedrock_chat.wire.views import WireViewSet
from tests.serving.conftest import Live, NoOutflow, eventually, memory_of_this_process, read_to_end
from tests.serving.urls import stage

MEGABYTE = 1024 * 1024


async def never(*_: Any) -> Any:
    await asyncio.Event().wait()


async def endless(closed: list[bool], seconds: float = 0) -> AsyncGenerator[dict[str, Any], None]:
    try:
        while True:
            yield {"type": "http.response.body", "body": bytes(100), "more_body": True}
            await asyncio.sleep(seconds)
    finally:
        closed.append(True)


def pump_until_let_go(client: NoOutflow, send: Any, closed: list[bool], seconds: float = 5) -> bool | None:
    """Whether all was sent; None where the client was not let go within `seconds`."""

    async def scenario() -> bool | None:
        try:
            async with asyncio.timeout(seconds):
                return await sending.pump(endless(closed, 0.01), never, send, outflow=client)
        except TimeoutError:
            return None

    return asyncio.run(scenario())


def test_a_client_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.2)
    closed: list[bool] = []
    client = NoOutflow(unsent=1)
    started = time.monotonic()
    assert pump_until_let_go(client, never, closed) is False
    assert 0.2 <= time.monotonic() - started < 10
    assert (closed, client.aborted) == ([True], True)


@pytest.mark.parametrize(("bytes_per_second", "is_let_go"), [(300, True), (4000, False)])
def test_the_floor_is_a_kilobyte_a_second(
    monkeypatch: pytest.MonkeyPatch, bytes_per_second: int, is_let_go: bool
) -> None:
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.4)
    started = time.monotonic()
    sent = 0

    class Reader(NoOutflow):
        def unsent(self) -> int:
            return max(1, sent - int((time.monotonic() - started) * bytes_per_second))

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += len(message["body"])

    client = Reader()
    assert pump_until_let_go(client, send, [], 1.5) is (False if is_let_go else None)
    assert client.aborted is is_let_go


def test_a_model_that_is_slow_is_no_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.1)

    async def slow() -> AsyncGenerator[dict[str, Any], None]:
        for _ in range(3):
            await asyncio.sleep(0.2)
            yield {"type": "http.response.body", "body": b"x", "more_body": True}

    async def send(_: Any) -> None:
        pass

    assert asyncio.run(sending.pump(slow(), never, send, outflow=NoOutflow())) is True


def test_nothing_is_made_for_a_client_that_has_not_taken_what_came_before() -> None:
    numbers_made = []

    async def many() -> AsyncGenerator[dict[str, Any], None]:
        for number in range(100):
            numbers_made.append(number)
            yield {"type": "http.response.body", "body": b"x", "more_body": True}

    async def scenario() -> int:
        taken = asyncio.Event()

        async def send(_: Any) -> None:
            await taken.wait()

        task = asyncio.create_task(sending.pump(many(), never, send, outflow=NoOutflow()))
        await asyncio.sleep(0.1)
        before = len(numbers_made)
        taken.set()
        assert await task is True
        return before

    assert asyncio.run(scenario()) == 1
    assert len(numbers_made) == 100


# ---- Real sockets ---------------------------------------------------------------------------------------------------


def ask(server: Live, path: str, caller: str = "alice") -> socket.socket:
    """A client with a small buffer that asks, and reads nothing yet."""
    client = server.connect(receive_buffer=4096)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Caller: {caller}\r\nConnection: close\r\n\r\n".encode())
    return client


@pytest.mark.parametrize("path", ["/whole?size=20000000", "/file?size=20000000", "/lines?count=2000"])
def test_a_deaf_client_is_let_go_and_what_waited_for_it_is_freed(
    server: Live, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.3)
    before = memory_of_this_process()
    clients = [ask(server, path) for _ in range(3)]
    assert eventually(lambda: not server.server.server_state.tasks, 10)
    assert answers.budget().bytes_in_use == 0
    assert eventually(lambda: memory_of_this_process() - before < 32 * MEGABYTE, 5)  # three wanted 60
    for client in clients:
        client.close()


@pytest.mark.parametrize("path", ["/whole?size=2000000", "/file?size=2000000"])
def test_a_steady_client_gets_everything(server: Live, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.2)
    client = ask(server, path)
    received = 0
    while data := client.recv(65536):
        received += len(data)
        time.sleep(0.001)
    assert received > 2_000_000


def test_what_waits_for_one_caller_is_bounded_and_others_are_served(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(100 * MEGABYTE, 12 * MEGABYTE)
    monkeypatch.setattr(answers, "budget", lambda: budget)
    slow = [ask(server, "/whole?size=8000000")]
    assert eventually(lambda: budget.bytes_in_use == 8_000_000)
    refused = server.request("GET", "/whole?size=8000000", X_Caller="alice", Origin="http://a.example")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert b"Too many answers wait" in refused.read()
    assert refused.headers["X-Request-ID"] == "kept"
    assert len(server.request("GET", "/whole?size=100000", X_Caller="alice").read()) == 100_000  # small ones go
    assert len(server.request("GET", "/whole?size=8000000", X_Caller="bob").read()) == 8_000_000
    assert len(read_to_end(slow[0])) > 8_000_000
    assert eventually(lambda: budget.bytes_in_use == 0)
    assert len(server.request("GET", "/whole?size=8000000", X_Caller="alice").read()) == 8_000_000


def test_what_waits_for_all_together_is_bounded(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(12 * MEGABYTE, 12 * MEGABYTE)
    monkeypatch.setattr(answers, "budget", lambda: budget)
    slow = ask(server, "/whole?size=8000000")
    assert eventually(lambda: budget.bytes_in_use == 8_000_000)
    assert server.request("GET", "/whole?size=8000000", X_Caller="bob").status == 503
    slow.close()
    assert eventually(lambda: budget.bytes_in_use == 0)
    assert server.request("GET", "/whole?size=8000000", X_Caller="bob").status == 200


def test_one_answer_of_any_size_always_goes(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(MEGABYTE, MEGABYTE)
    monkeypatch.setattr(answers, "budget", lambda: budget)
    assert len(server.request("GET", "/whole?size=8000000", X_Caller="alice").read()) == 8_000_000


def test_a_client_that_never_takes_its_last_bytes_does_not_keep_its_connection(
    server: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the buffers when a response has ended is dropped with the connection."""
    monkeypatch.setattr(server.server.config, "timeout_keep_alive", 0.3)
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.3)
    client = server.connect(receive_buffer=4096)
    client.sendall(40 * b"GET /whole?size=250000 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert eventually(lambda: not server.server.server_state.tasks)
    assert eventually(lambda: not server.server.server_state.connections, 10)
    assert stage.happened == []
    client.close()


@pytest.mark.parametrize("round_trip", [0.0, 0.06])
def test_a_model_that_writes_slowly_to_a_client_far_away_is_no_slow_client(
    monkeypatch: pytest.MonkeyPatch, round_trip: float
) -> None:
    """900 bytes a second, each event acknowledged one round trip later: something is always on its way."""
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.5)
    on_the_way: list[tuple[float, int]] = []

    class Far(NoOutflow):
        def unsent(self) -> int:
            now = time.monotonic()
            return sum(size for sent_at, size in on_the_way if now - sent_at < round_trip)

    async def send(message: dict[str, Any]) -> None:
        on_the_way.append((time.monotonic(), len(message["body"])))

    async def model() -> AsyncGenerator[dict[str, Any], None]:
        for _ in range(30):
            yield {"type": "http.response.body", "body": bytes(36), "more_body": True}
            await asyncio.sleep(0.04)

    client = Far()
    assert asyncio.run(sending.pump(model(), never, send, outflow=client)) is True
    assert not client.aborted


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_text_is_counted_in_bytes(monkeypatch: pytest.MonkeyPatch, letter: str) -> None:
    """1,800 bytes a second are above the floor, whatever the letters, while others wait."""
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.6)

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(len(message["text"].encode()) / 1800)

    async def model() -> AsyncGenerator[dict[str, Any], None]:
        for _ in range(30):
            yield {"type": "websocket.send", "text": letter * (84 // len(letter.encode()))}

    assert asyncio.run(sending.pump(model(), never, send, outflow=NoOutflow(unsent=30_000))) is True


def test_an_answer_that_cannot_be_rendered_is_not_counted_for_ever(monkeypatch: pytest.MonkeyPatch, rf: Any) -> None:
    budget = Budget(4 * MEGABYTE, MEGABYTE)
    monkeypatch.setattr(answers, "budget", lambda: budget)

    class Broken(WireViewSet):
        authentication_classes = ()
        permission_classes = ()

        def retrieve(self, request: Any) -> Response:
            return answers.make("alice", MEGABYTE, lambda: Response({"a": object()}))

    with pytest.raises(TypeError):
        Broken.as_view({"get": "retrieve"})(rf.get("/x")).render()
    assert budget.bytes_in_use == 0

"""A client that does not read: it costs the server little memory and does not slow other clients."""

import asyncio
import json
import os
import socket as sockets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bedrock_chat.serving import sending
from tests.conversations.chat import payload
from tests.listening import ask, text_of
from tests.live import LiveServer

WORDS = 4_000


def memory(server: LiveServer) -> int:
    """The server's resident memory in bytes."""
    fields = Path(f"/proc/{server.process.pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def deaf(server: LiveServer, token: str, conversation: str) -> sockets.socket:
    """A client that asks for a long answer and never reads it."""
    where = urlsplit(server.url)
    client = sockets.socket()
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    client.connect((where.hostname, where.port))
    body = json.dumps(payload(conversation, f"[[words:{WORDS}]]")).encode()
    client.sendall(
        b"POST /conversation HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return client


def last_words(server: LiveServer, token: str, conversation: str) -> list[str]:
    """The words of the stored answer; none while there is no answer."""
    _, stored = server.call("GET", f"/conversation/{conversation}", token=token)
    last = stored.get("messageMap", {}).get(stored.get("lastMessageId"), {"role": "", "content": []})
    return last["content"][0]["body"].split() if last["role"] == "assistant" else []


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc is Linux's")
def test_ten_deaf_clients_cost_no_more_than_their_answers_and_slow_nobody(server: LiveServer, alice: str) -> None:
    ask(server, alice, "warm", f"[[words:{WORDS}]]")  # once, so that what the first turn loads is not counted
    before = memory(server)
    clients = [deaf(server, alice, f"deaf-{number}") for number in range(10)]
    try:
        begun = time.monotonic()
        with ThreadPoolExecutor(5) as pool:
            texts = list(pool.map(lambda n: text_of(ask(server, alice, f"reads-{n}", "hello")), range(20)))
        assert texts == ["Echo: hello"] * 20
        assert time.monotonic() - begun < 20
        deadline = time.monotonic() + 60
        for number in range(10):
            while len(last_words(server, alice, f"deaf-{number}")) < WORDS:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        time.sleep(1)
        assert memory(server) - before < 10 * 25 * 1024 * 1024
    finally:
        for client in clients:
            client.close()


def test_nothing_is_made_for_a_client_who_has_not_taken_what_came_before() -> None:
    produced = []

    async def many():
        for number in range(100):
            produced.append(number)
            yield {"type": "http.response.body", "body": b"x", "more_body": True}

    async def scenario() -> int:
        taken = asyncio.Event()

        async def send(_: dict) -> None:
            await taken.wait()

        async def never() -> dict:
            return await asyncio.Event().wait()

        task = asyncio.create_task(sending.pump(many(), never, send))
        await asyncio.sleep(0.1)
        before = len(produced)
        taken.set()
        assert await task is True
        return before

    assert asyncio.run(scenario()) == 1
    assert len(produced) == 100


def test_a_client_who_takes_nothing_for_a_minute_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.2)
    closed = []

    async def endless():
        try:
            while True:
                yield {"type": "http.response.body", "body": b"x", "more_body": True}
        finally:
            closed.append(True)

    async def never(*_):
        await asyncio.Event().wait()

    begun = time.monotonic()
    assert asyncio.run(sending.pump(endless(), never, never)) is False
    assert 0.2 <= time.monotonic() - begun < 3
    assert closed == [True]


def test_a_model_that_is_slow_is_no_slow_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.1)

    async def slow():
        for _ in range(3):
            await asyncio.sleep(0.2)
            yield {"type": "http.response.body", "body": b"x", "more_body": True}

    async def send(_):
        pass

    async def never():
        await asyncio.Event().wait()

    assert asyncio.run(sending.pump(slow(), never, send)) is True

"""Large bodies: whose they are is asked before they are read, and how much is held is bounded."""

import asyncio
import errno
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from bedrock_chat.process.budget import Budget
from bedrock_chat.serving import outflow, request_body
from tests.serving.conftest import Live, eventually, memory_of_this_process, read_to_end, read_until, serving

KILOBYTE = 1024
MEGABYTE = 1024 * 1024


def head(length: int | None, caller: str = "", **headers: str) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"X-Caller: {caller}"] if caller else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(["POST /echo HTTP/1.1", "Host: x", framing, *lines, "", ""]).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.fixture(autouse=True)
def nothing_is_held() -> Iterator[None]:
    yield
    assert eventually(lambda: request_body.uploads().bytes_in_use == 0)


def test_a_stranger_may_send_64_kb(server: Live) -> None:
    assert server.json("POST", "/echo", bytes(64 * KILOBYTE))["length"] == 64 * KILOBYTE
    assert server.json("POST", "/echo", iter([bytes(32 * KILOBYTE)] * 2))["length"] == 64 * KILOBYTE


def test_a_strangers_larger_body_is_401_before_it_is_read(server: Live) -> None:
    """The response comes at once, and is not lost although the client is still sending."""
    answer = server.raw(head(900_000) + bytes(1000))
    assert status_of(answer) == 401
    assert b"\r\nwww-authenticate: bearer\r\n" in answer.lower()
    assert b"connection: close" in answer.lower()
    assert json.loads(answer.split(b"\r\n\r\n")[1])["detail"] == "A request body over 64 KB needs a valid token."
    with server.connect() as client:
        client.sendall(head(900_000))
        for _ in range(9):
            client.sendall(bytes(100_000))
        assert status_of(read_to_end(client)) == 401


def test_a_strangers_chunks_are_read_up_to_64_kb(server: Live) -> None:
    with server.connect() as client:
        client.sendall(head(None))
        for _ in range(20):
            client.sendall(b"8000\r\n" + bytes(32768) + b"\r\n")
        client.sendall(b"0\r\n\r\n")
        assert status_of(read_to_end(client)) == 401


def test_a_client_that_waits_for_100_is_told_401_instead(server: Live) -> None:
    assert status_of(server.raw(head(900_000, Expect="100-continue"))) == 401


def test_a_strangers_small_body_may_not_take_longer_than_a_head(server: Live, settings: Any) -> None:
    settings.HEAD_TIMEOUT, settings.BODY_TIMEOUT = 0.4, 5
    started = time.monotonic()
    with server.connect() as client:
        client.sendall(head(100))
        client.settimeout(0.1)
        answer = b""
        while not answer:
            client.sendall(b"x")
            try:
                answer = client.recv(65536)
            except TimeoutError:
                continue
    assert status_of(answer) == 401
    assert 0.3 < time.monotonic() - started < 10


def test_a_known_caller_may_take_longer(server: Live, settings: Any) -> None:
    settings.HEAD_TIMEOUT, settings.BODY_TIMEOUT = 0.2, 5
    with server.connect() as client:
        client.sendall(head(5, "alice", Connection="close"))
        for _ in range(5):
            time.sleep(0.1)
            client.sendall(b"x")
        assert b'"length": 5' in read_to_end(client)


def test_three_hundred_strangers_cost_little(server: Live) -> None:
    before = memory_of_this_process()
    clients = [server.connect() for _ in range(300)]
    for client in clients:
        client.setblocking(False)
        client.send(head(1_000_000))
    time.sleep(0.3)
    for client in clients:
        try:
            client.send(bytes(900_000))
        except OSError:
            continue
    time.sleep(0.5)
    assert memory_of_this_process() - before < 300 * 64 * KILOBYTE
    for client in clients:
        client.close()


def test_an_upload_below_the_floor_is_let_go(server: Live, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BODY_TIMEOUT = 5
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.5)
    started = time.monotonic()
    with server.connect() as client:
        client.sendall(head(100_000, "alice"))
        client.settimeout(0.05)
        answer = b""
        while not answer:
            client.sendall(b"x" * 10)  # 200 bytes a second
            try:
                answer = client.recv(65536)
            except TimeoutError:
                continue
    assert status_of(answer) == 408
    assert b"less than 1024 bytes a second" in answer
    assert 0.4 < time.monotonic() - started < 10


def test_an_upload_above_the_floor_goes_on(server: Live, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.BODY_TIMEOUT = 5
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.3)
    with server.connect() as client:
        client.sendall(head(2000, "alice", Connection="close"))
        for _ in range(20):
            client.sendall(b"x" * 100)  # 2,000 bytes a second
            time.sleep(0.05)
        assert b'"length": 2000' in read_to_end(client)


def upload(server: Live, length: int, caller: str) -> socket.socket:
    """Begins an upload and does not end it."""
    client = server.connect()
    client.sendall(head(length, caller) + bytes(1000))
    return client


def test_what_one_caller_uploads_at_once_is_bounded(
    server: Live, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BODY_TIMEOUT = 5
    budget = Budget(10 * MEGABYTE, MEGABYTE)
    monkeypatch.setattr(request_body, "uploads", lambda: budget)
    begun = upload(server, 600_000, "alice")
    assert eventually(lambda: budget.bytes_in_use == 600_000)
    refused = server.raw(head(600_000, "alice"))
    assert status_of(refused) == 503
    assert b"\r\nretry-after: 5\r\n" in refused.lower()
    assert b"Too much is being uploaded" in refused
    assert server.json("POST", "/echo", bytes(600_000), X_Caller="bob")["length"] == 600_000
    begun.close()
    assert eventually(lambda: budget.bytes_in_use == 0)
    assert server.json("POST", "/echo", bytes(600_000), X_Caller="alice")["length"] == 600_000
    assert eventually(lambda: budget.bytes_in_use == 0)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_what_all_upload_at_once_is_bounded(
    server: Live, settings: Any, monkeypatch: pytest.MonkeyPatch, is_chunked: bool
) -> None:
    settings.BODY_TIMEOUT = 5
    budget = Budget(MEGABYTE, MEGABYTE)
    monkeypatch.setattr(request_body, "uploads", lambda: budget)
    begun = upload(server, 900_000, "alice")
    assert eventually(lambda: budget.bytes_in_use == 900_000)
    with server.connect() as client:
        if is_chunked:
            client.sendall(head(None, "bob") + (b"8000\r\n" + bytes(32768) + b"\r\n") * 9 + b"0\r\n\r\n")
        else:
            client.sendall(head(200_000, "bob"))
        assert status_of(read_to_end(client)) == 503
    begun.close()
    assert eventually(lambda: budget.bytes_in_use == 0)


def test_a_full_disk_is_503_in_our_shape(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(self: request_body.Body, piece: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(request_body.Body, "write", no_room)
    refused = server.request("POST", "/echo", bytes(100_000), X_Caller="alice")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "60")
    assert json.load(refused)["detail"] == "A storage of this server is full; try again later."


def test_a_temporary_folder_that_is_full_is_503(
    server: Live, settings: Any, monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    settings.MAX_BODY_MB = 8
    monkeypatch.setattr(request_body.tempfile, "tempdir", str(small_disk))
    assert server.request("POST", "/echo", bytes(6 * MEGABYTE), X_Caller="alice").status == 503
    assert server.json("POST", "/echo", bytes(100_000), X_Caller="alice")["length"] == 100_000


def test_a_client_is_heard_out_after_401(server: Live) -> None:
    with server.connect() as client:
        client.sendall(head(900_000))
        assert b" 401 " in read_until(client, b"\r\n\r\n")
        client.sendall(bytes(900_000))
        assert json.loads(read_to_end(client) or b"{}") is not None


def test_small_last_pieces_that_find_the_disk_full_are_503_and_counted_no_longer(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file keeps the last bytes in memory, and writes them when it is rewound or closed."""
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    monkeypatch.setattr(request_body, "SPOOL_BYTES", 100_000)
    room = 100_000 // 4096 * 4096 + 8192
    (small_disk / "fill").write_bytes(bytes(2 * MEGABYTE - room))
    length = room + 3000
    with serving(4, MAX_BODY_MB=4) as live, live.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(head(length, "alice", Connection="close") + bytes(length - 6000))
        for _ in range(12):
            time.sleep(0.02)
            client.sendall(bytes(500))
        answer = read_to_end(client)
    assert status_of(answer) == 503
    assert "storage of this server is full" in json.loads(answer.split(b"\r\n\r\n")[1])["detail"]


def judge_without_a_database(_: Any) -> str:
    raise OperationalError("the database is away")


def test_a_judge_that_cannot_ask_the_database_is_503() -> None:
    judges = [f"{__name__}.{judge_without_a_database.__name__}"]
    with serving(4, BODY_JUDGES=judges) as live:
        answer = live.raw(head(100_000) + bytes(1000))
    assert status_of(answer) == 503
    assert json.loads(answer.split(b"\r\n\r\n")[1])["detail"] == "The database does not answer; try again."


def test_the_time_that_the_judge_takes_is_not_the_clients(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """15 KB/s are far above the floor."""
    monkeypatch.setattr(request_body, "FLOOR_SECONDS", 0.4)
    monkeypatch.setattr(outflow, "FLOOR_SECONDS", 0.4)
    pieces = iter([True] * 299 + [False])

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.005)
        return {"type": "http.request", "body": bytes(300), "more_body": next(pieces)}

    async def judge(_: Any) -> str:
        await asyncio.sleep(0.6)
        return "alice"

    body, length = asyncio.run(request_body.read({"CONTENT_LENGTH": "90000"}, receive, judge))
    body.close()
    assert length == 90_000


def test_what_was_uploaded_is_let_go_before_a_long_answer_begins(server: Live) -> None:
    with server.connect() as client:
        client.sendall(head(900_000, "alice").replace(b"/echo", b"/events") + bytes(900_000))
        read_until(client, b"first")
        assert request_body.uploads().bytes_in_use == 0

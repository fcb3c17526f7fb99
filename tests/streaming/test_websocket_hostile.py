"""WebSockets that are made to take the server away, by somebody without a token."""

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.listening import socket as websocket
from tests.live import LiveServer
from tests.serving.conftest import eventually
from tests.streaming.conftest import Serve

CONNECTIONS = 64
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
UPGRADE = f"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}"
TEXT, CLOSE, PING, PONG, CONTINUATION = 1, 8, 9, 10, 0


@pytest.fixture(scope="module")
def server(serve: Serve) -> LiveServer:
    return serve(CONNECTIONS=str(CONNECTIONS))


def connected(server: LiveServer, head: str) -> socket.socket:
    where = urlsplit(server.url)
    assert where.hostname
    client = socket.create_connection((where.hostname, where.port or 80), 10)
    client.sendall(head.encode())
    return client


def read_to_end(client: socket.socket) -> bytes:
    answer = b""
    try:
        while piece := client.recv(65536):
            answer += piece
    except ConnectionError:
        pass
    return answer


def frame(opcode: int, data: bytes = b"", *, is_last: bool = True) -> bytes:
    """A masked frame; its mask of zeros leaves the data as it is."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return bytes([0x80 * is_last | opcode]) + length + bytes(4) + data


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("GET /ws", "Content-Length: 10\r\n"),
        ("GET /ws", "Content-Length: 1000000\r\n"),
        ("GET /ws", "Content-Length: 0\r\n"),
        ("GET /ws", "Transfer-Encoding: chunked\r\n"),
        ("GET /health", "Content-Length: 10\r\n"),
        ("POST /ws", "Content-Length: 2\r\n"),
        ("POST /ws", ""),
        ("DELETE /ws", ""),
    ],
)
def test_a_handshake_with_a_body_or_another_method_is_refused(server: LiveServer, line: str, more: str) -> None:
    with connected(server, f"{line} HTTP/1.1\r\n{UPGRADE}{more}\r\n") as client:
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/json" in answer


def test_handshakes_whose_clients_vanish_leave_nothing(server: LiveServer) -> None:
    for _ in range(3 * CONNECTIONS):
        connected(server, f"GET /ws HTTP/1.1\r\n{UPGRADE}Content-Length: 1000000\r\n\r\n").close()
    time.sleep(0.5)
    assert httpx.get(f"{server.url}/conversations").status_code == 401  # and no 503: connections are free
    descriptors = list(Path(f"/proc/{server.process.pid}/fd").iterdir())
    assert len(descriptors) < 40 + CONNECTIONS


def test_who_waits_with_a_body_gives_way_to_others(server: LiveServer) -> None:
    waiting = [
        connected(server, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n") for _ in range(CONNECTIONS)
    ]
    time.sleep(1.2)  # a second is everybody's
    assert httpx.get(f"{server.url}/conversations").status_code == 401
    for client in waiting:
        client.close()


def test_sockets_of_strangers_give_way_to_others_and_those_of_known_clients_do_not(server: LiveServer) -> None:
    token = server.manage("issue_token", "mallory")
    with websocket(server) as known, ExitStack() as stack:
        known.send(json.dumps({"step": "START", "token": token}))
        assert known.recv(10) == "Session started."
        head = f"GET /ws HTTP/1.1\r\n{UPGRADE}\r\n"
        strangers = [stack.enter_context(connected(server, head)) for _ in range(CONNECTIONS)]
        for stranger in strangers[::2]:
            stranger.sendall(frame(TEXT, b"[]"))  # is refused, and does not leave
        time.sleep(1.2)  # a second is everybody's
        assert httpx.get(f"{server.url}/conversations").status_code == 401
        known.send(json.dumps({"step": "END", "token": token}))
        assert "no parts" in str(known.recv(10))


@pytest.mark.parametrize(
    "small",
    [
        frame(PONG),
        frame(PING),
        pytest.param(frame(PING, bytes(125)), marks=pytest.mark.slow),
        pytest.param(frame(CONTINUATION, is_last=False), marks=pytest.mark.slow),
    ],
    ids=["pongs", "pings", "long pings", "fragments"],
)
def test_a_flood_of_small_frames_ends_the_socket(server: LiveServer, small: bytes) -> None:
    """Nothing of what the server answers is read: it keeps little of it, too."""
    memory = resident(server)
    with connected(server, f"GET /ws HTTP/1.1\r\n{UPGRADE}\r\n") as client:
        if small[0] & 0x0F == CONTINUATION:
            client.sendall(frame(TEXT, is_last=False))
        client.settimeout(5)
        with pytest.raises(ConnectionError):
            flood(client, small * 1000)
    assert resident(server) - memory < 16 * 1024 * 1024
    assert httpx.get(f"{server.url}/health").status_code == 200


def flood(client: socket.socket, data: bytes) -> None:
    for _ in range(400):
        client.sendall(data)
        time.sleep(0.005)


def resident(server: LiveServer) -> int:
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fragments(size: int, number: int) -> Iterator[str]:
    yield '{"step": "' + "x" * size
    for _ in range(number):
        yield "x" * size
    yield '"}'


def test_a_message_in_many_fragments_is_none(server: LiveServer) -> None:
    with websocket(server) as client:
        client.send(fragments(100, 500))
        assert "START" in str(client.recv(10))


@pytest.mark.parametrize("more", [b"", frame(CLOSE, struct.pack(">H", 1000))], ids=["", "and a close"])
def test_a_text_that_is_no_utf_8_is_refused_with_a_word_and_is_no_fault_of_the_server(
    server: LiveServer, more: bytes
) -> None:
    before = len(server.log.read_text())
    with connected(server, f"GET /ws HTTP/1.1\r\n{UPGRADE}\r\n") as client:
        assert client.recv(1024).startswith(b"HTTP/1.1 101 ")
        client.sendall(frame(TEXT, b"\xe2", is_last=False) + frame(CONTINUATION, b"\x28") + more)
        answer = b""
        while not answer.endswith((struct.pack(">H", 1000), struct.pack(">H", 1008))) and (piece := client.recv(1024)):
            answer += piece
    assert more or b"A message is a JSON object." in answer
    eventually(lambda: "route=/ws" in server.log.read_text()[before:])
    log = server.log.read_text()[before:]
    assert "Error" not in log
    assert "route=/ws status=400" in log


def test_the_largest_part_fits_into_a_message_however_it_is_written_and_little_more(server: LiveServer) -> None:
    token = server.manage("issue_token", "mallory")
    with websocket(server) as client:
        client.send(json.dumps({"step": "START", "token": token}))
        assert client.recv(10) == "Session started."
        client.send(json.dumps({"step": "BODY", "index": 0, "part": "é" * 32_768}))
        assert client.recv(10) == "Message part received."
        client.send("x" * 300_000)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009  # message too big


@pytest.mark.slow
def test_a_handshake_that_failed_is_no_fault_at_the_end(serve: Serve) -> None:
    server = serve()
    clients = [
        connected(server, f"{line}\r\n{UPGRADE}{more}\r\n{body}")
        for line, more, body in (
            ("POST /ws HTTP/1.1", "Content-Length: 2\r\n", "{}"),
            ("GET /ws HTTP/1.1", "Content-Length: 2\r\n", ""),
            ("GET /ws HTTP/1.0", "", ""),
        )
    ]
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(15) == 0
    assert "Traceback" not in server.log.read_text()
    for client in clients:
        client.close()

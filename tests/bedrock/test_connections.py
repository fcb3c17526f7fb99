"""A request to AWS goes out in one piece where it is small, and is whole in any case."""

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from bedrock_chat.bedrock.connections import JOINED, Connection


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def connection() -> Iterator[Connection]:
    """One to a server that answers a body with itself."""
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connection = Connection("127.0.0.1", server.server_port, timeout=10)
    yield connection
    connection.close()
    server.shutdown()
    server.server_close()


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is handed to the socket, piece by piece."""
    pieces: list[bytes] = []
    send = http.client.HTTPConnection.send

    def keep(connection: http.client.HTTPConnection, data: bytes) -> None:
        pieces.append(data)
        send(connection, data)

    monkeypatch.setattr(http.client.HTTPConnection, "send", keep)
    return pieces


def test_head_and_body_are_one_piece_on_a_new_connection_and_on_a_kept_one(
    connection: Connection, pieces: list[bytes]
) -> None:
    for body in (b"{}", b"a" * JOINED):
        pieces.clear()
        connection.request("POST", "/", body)
        assert connection.getresponse().data == body
        [piece] = pieces
        assert piece.startswith(b"POST / HTTP/1.1\r\n")
        assert piece.endswith(b"\r\n\r\n" + body)


def test_a_large_body_is_not_copied_for_its_head(connection: Connection, pieces: list[bytes]) -> None:
    body = b"a" * (JOINED + 1)
    connection.request("POST", "/", body)
    assert connection.getresponse().data == body
    assert len(pieces) == 2
    assert pieces[1] is body


def test_a_body_of_several_parts_is_sent_whole(connection: Connection, pieces: list[bytes]) -> None:
    connection.request("POST", "/", iter([b"one", b"two"]), {"Content-Length": "6"})
    assert connection.getresponse().data == b"onetwo"
    assert len(pieces) == 2


def test_a_request_without_a_body_is_sent(connection: Connection, pieces: list[bytes]) -> None:
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    assert len(pieces) == 1


def test_a_body_waits_for_the_servers_consent_where_the_head_asks_for_it(
    connection: Connection, pieces: list[bytes]
) -> None:
    # So botocore has it in its requests.
    expect: Any = {"Expect": b"100-continue", "Content-Length": "2"}
    connection.request("POST", "/", b"{}", expect)
    assert connection.getresponse().data == b"{}"
    assert len(pieces) == 2
    assert pieces[0].endswith(b"\r\n\r\n")

"""Wherever a call hangs, its deadline and an interruption end it, and whoever was called sees it gone."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bedrock_chat.outbound.faults import TimedOut
from bedrock_chat.process.interruption import Interrupted, Interruption
from tests.outbound.conftest import Post
from tests.outbound.servers import Server, plain, until_left
from tests.stalling import unresolved_names
from tests.together import wait_for

pytestmark = pytest.mark.usefixtures("local")

AT_ONCE = 5.0
"""Seconds, from a stop to the call's end."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"


def silent(connection: socket.socket, _: str) -> None:
    until_left(connection)


def silent_in_the_head(connection: socket.socket, _: str) -> None:
    connection.sendall(HEAD[:20])
    until_left(connection)


def silent_in_the_body(connection: socket.socket, _: str) -> None:
    connection.sendall(HEAD + b"half of")
    until_left(connection)


def silent_between_chunks(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    until_left(connection)


def drip(connection: socket.socket, data: bytes) -> None:
    for letter in data:
        connection.sendall(bytes([letter]))
        time.sleep(0.02)


def dripping_head(connection: socket.socket, _: str) -> None:
    drip(connection, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000)


def dripping_body(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    drip(connection, b"x" * 10_000)


def continuing(connection: socket.socket, _: str) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


ANSWERS = [
    silent,
    silent_in_the_head,
    silent_in_the_body,
    silent_between_chunks,
    dripping_head,
    dripping_body,
    continuing,
]


@contextmanager
def hanging(place: str) -> Iterator[str]:
    """The address of a server that hangs there."""
    if place == "name":
        with unresolved_names():
            yield "https://somewhere.example/"
    elif place == "connect":
        # A queue of connections that is full: the next one is not even refused.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
            port = listener.getsockname()[1]
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            try:
                yield f"http://127.0.0.1:{port}/"
            finally:
                for filler in fillers:
                    filler.close()
    elif place == "tls":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
    elif place == "upload":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    else:
        answer = next(answer for answer in ANSWERS if answer.__name__ == place)
        with Server(answer) as server:
            yield server.url
            wait_for(server.left.is_set)


PLACES = pytest.mark.parametrize(
    "place", ["name", "connect", "tls", "upload", *(answer.__name__ for answer in ANSWERS)]
)
LARGE = {"text": "x" * 8_000_000}
"""More than the buffers between two programs take."""


@PLACES
def test_a_deadline_is_for_all_of_a_call(post: Post, place: str) -> None:
    with hanging(place) as url:
        started = time.monotonic()
        with pytest.raises(TimedOut, match=r"The server did not answer in time\."):
            post(url, LARGE if place == "upload" else {}, seconds=0.25)
        assert 0.2 < time.monotonic() - started < 0.25 + AT_ONCE


@PLACES
def test_a_stop_ends_a_call_wherever_it_hangs(post: Post, place: str) -> None:
    turn = Interruption()
    stopped_at = list[float]()

    def stop() -> None:
        stopped_at.append(time.monotonic())
        turn.request()

    with hanging(place) as url:
        threading.Timer(0.1, stop).start()
        with turn.inner() as call, pytest.raises(Interrupted):
            post(url, LARGE if place == "upload" else {}, interruption=call, seconds=20)
        assert time.monotonic() - stopped_at[0] < AT_ONCE


def test_no_call_begins_behind_a_stop_or_a_deadline(post: Post) -> None:
    stopped = Interruption()
    stopped.request()
    with Server(plain()) as server:
        with pytest.raises(Interrupted):
            post(server.url, interruption=stopped)
        with pytest.raises(TimedOut):
            post(server.url, seconds=0)
        assert not server.accepted.is_set()


def test_a_call_that_is_over_leaves_nothing_behind(post: Post) -> None:
    turn = Interruption()
    with Server(plain()) as server, turn.inner() as call:
        post(server.url, interruption=call)
        assert not call._endings
        assert post(server.url, interruption=call).status == 200


@pytest.mark.slow
def test_a_hundred_calls_that_hang_end_together_and_keep_nobody(post: Post) -> None:
    turn, ended = Interruption(), list[Any]()

    def call(url: str) -> None:
        with pytest.raises(Interrupted) as raised:
            post(url, interruption=turn, seconds=60)
        ended.append(raised)

    with Server(silent) as hanging_server, Server(plain()) as healthy:
        threads = [threading.Thread(target=call, args=(hanging_server.url,)) for _ in range(100)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(hanging_server.requests) == 100, 30)
        started = time.monotonic()
        assert post(healthy.url).status == 200
        assert time.monotonic() - started < AT_ONCE
        stopped_at = time.monotonic()
        turn.request()
        for thread in threads:
            thread.join(5)
        assert time.monotonic() - stopped_at < AT_ONCE * 2
    assert len(ended) == 100

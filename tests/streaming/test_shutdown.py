"""The end of a process: running turns get a grace period, then every client gets a last message. No text is lost."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.listening import asking, frames, resuming, send, socket, text_of
from tests.live import LiveServer
from tests.streaming.conftest import Serve

pytestmark = pytest.mark.both

SILENT = "[[silence:60]] hello"
HALF = "[[words:9]] [[silence:60:after:4]]"
SAID = "the quick brown fox"


def wait_for_calls(bedrock: Emulator, calls: int) -> None:
    deadline = time.monotonic() + 10
    while len(bedrock.requests()) < calls:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def last_words(websocket: Any) -> list[Any]:
    """Everything that a socket receives until it closes."""
    received = []
    try:
        while True:
            text = websocket.recv(30)
            received.append(json.loads(text) if text.startswith("{") else text)
    except ConnectionClosed:
        return received


def stored(server: LiveServer, token: str, conversation: str) -> dict[str, Any]:
    return server.call("GET", f"/conversation/{conversation}", token=token)[1]


def test_turns_that_end_within_the_grace_are_whole(serve: Serve, alice: str, bedrock: Emulator) -> None:
    server = serve(SHUTDOWN_GRACE="20")
    slow = "[[words:30]] [[pace:0.15]]"  # 4.5 s, of which a busy machine takes some for what follows
    with ThreadPoolExecutor() as pool, socket(server) as websocket:
        plain = pool.submit(server.call, "POST", "/conversation", payload("w-plain", slow), token=alice)
        send(websocket, alice, payload("w-socket", slow))
        with asking(server, alice, "w-sse", slow, message_id="q") as listener:
            listener.until("text")
            wait_for_calls(bedrock, 3)
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            # It still answers, and says that it is leaving.
            assert server.call("GET", "/health")[0] == 200
            assert server.call("GET", "/ready")[0] == 503
            refused, body = server.call("POST", "/conversation", payload("w-late", "hello"), token=alice)
            assert (refused, "shutting down" in body["detail"]) == (503, True)
            assert server.call("GET", "/conversations", token=alice)[0] == 200
            with socket(server) as late:
                send(late, alice, payload("w-late", "hello"))
                assert "shutting down" in frames(late)[-1]["reason"]
            with resuming(server, alice, "w-sse", "q") as again:
                assert len(text_of(list(again)).split()) == 30
            events = list(listener)
        assert events[-1].name == "message_stop"
        assert [frame["status"] for frame in last_words(websocket) if isinstance(frame, dict)][-1] == "STREAMING_END"
        status, answered = plain.result()
    assert status == 200
    assert len(answered["message"]["content"][0]["body"].split()) == 30
    assert server.process.wait(5) == 0
    assert time.monotonic() - begun < 15  # the end came with the last turn, not with the grace


def test_when_the_grace_is_over_everybody_gets_a_last_word_and_nothing_is_lost(
    serve: Serve, server: LiveServer, alice: str, bedrock: Emulator
) -> None:
    leaving = serve(SHUTDOWN_GRACE="1", BODY_TIMEOUT="60", CHECKPOINT_SECONDS="60")
    with ThreadPoolExecutor() as pool, socket(leaving) as idle, socket(leaving) as begun_only, socket(leaving) as busy:
        begun_only.send(json.dumps({"step": "START", "token": alice}))
        assert begun_only.recv(10) == "Session started."
        send(busy, alice, payload("socket", HALF, message_id="q"))
        body = payload("plain", SILENT, message_id="q")
        plain = pool.submit(leaving.call, "POST", "/conversation", body, token=alice)
        with (
            asking(leaving, alice, "sse", HALF, message_id="q") as half,
            asking(leaving, alice, "silent", SILENT, message_id="q") as silent,
        ):
            half.until("text")
            wait_for_calls(bedrock, 4)
            signalled = time.monotonic()
            leaving.process.send_signal(signal.SIGTERM)
            half_events, silent_events = list(half), list(silent)
        socket_words, begun_words, idle_words = map(last_words, (busy, begun_only, idle))
        assert leaving.process.wait(10) == 0
        took = time.monotonic() - signalled
        status, refusal = plain.result()
    assert 1 <= took < 1 + 5
    for events in (half_events, silent_events):
        assert (events[-1].name, events[-1].data["status"]) == ("error", 503)
        assert events[-1].data["messageId"] == "q"
    assert socket_words[-1]["status"] == begun_words[-1]["status"] == idle_words[-1]["status"] == "ERROR"
    assert "shutting down" in socket_words[-1]["reason"]
    assert (status, refusal.get("messageId")) == (503, "q")
    for conversation in ("sse", "socket"):
        last = stored(server, alice, conversation)
        answer = last["messageMap"][last["lastMessageId"]]
        assert (answer["content"][0]["body"], answer["stopReason"]) == (SAID, "interrupted")
    for conversation in ("silent", "plain"):
        assert stored(server, alice, conversation)["lastMessageId"] == "q"


def test_sockets_that_open_as_the_process_leaves_get_a_last_word_or_none_at_all(serve: Serve, alice: str) -> None:
    """A socket that was accepted gets an ERROR; one that comes too late is refused the connection."""
    leaving = serve(SHUTDOWN_GRACE="1")
    last_frames: list[list[Any]] = []
    over = threading.Event()

    def knock() -> None:
        while not over.is_set():
            try:
                with socket(leaving) as websocket:
                    websocket.send(json.dumps({"step": "START", "token": alice}))
                    last_frames.append(last_words(websocket))
            except (OSError, WebSocketException):
                time.sleep(0.01)

    with asking(leaving, alice, "holds-it-up", SILENT, message_id="q") as listener, ThreadPoolExecutor(12) as pool:
        for _ in range(12):
            pool.submit(knock)
        time.sleep(0.5)
        leaving.process.send_signal(signal.SIGTERM)
        assert list(listener)[-1].name == "error"
        leaving.process.wait(10)
        over.set()
    assert len(last_frames) >= 12
    without_end = [received for received in last_frames if not received or not isinstance(received[-1], dict)]
    assert without_end == []
    assert {received[-1]["status"] for received in last_frames} == {"ERROR"}


def test_no_lease_is_left_behind(serve: Serve, server: LiveServer, alice: str, bedrock: Emulator) -> None:
    """An interrupted question can be asked again at once, without waiting for its lease to run out."""
    leaving = serve(SHUTDOWN_GRACE="0.2", TURN_LEASE_SECONDS="60")
    with asking(leaving, alice, "leased", "[[silence:60:times:1]] hello", message_id="q") as listener:
        wait_for_calls(bedrock, 1)
        leaving.process.send_signal(signal.SIGTERM)
        list(listener)
    leaving.process.wait(10)
    status, _ = server.call(
        "POST", "/conversation", payload("leased", "[[silence:60:times:1]] hello", message_id="q"), token=alice
    )
    assert status == 200


def test_who_waits_for_another_process_is_sent_away_at_once(serve: Serve, server: LiveServer, alice: str) -> None:
    leaving = serve(SHUTDOWN_GRACE="20")
    with (
        asking(server, alice, "waited", "[[words:40]] [[pace:0.1]]", message_id="q") as listener,
        resuming(leaving, alice, "waited", "q") as waiting,
    ):
        listener.until("text")
        waiting.until("waiting")
        begun = time.monotonic()
        leaving.process.send_signal(signal.SIGTERM)
        (end,) = list(waiting)
        assert leaving.process.wait(20) == 0
        assert time.monotonic() - begun < 15
        assert (end.name, end.data["status"]) == ("error", 503)
        assert "connect again" in end.data["detail"]
        assert end.data["resume"] is True
        assert list(listener)[-1].name == "message_stop"


def test_a_second_signal_means_now(serve: Serve, alice: str, bedrock: Emulator) -> None:
    server = serve(SHUTDOWN_GRACE="60")
    with asking(server, alice, "now", SILENT, message_id="q") as listener:
        listener.until("message_start")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_an_idle_server_leaves_at_once(serve: Serve) -> None:
    server = serve(SHUTDOWN_GRACE="60")
    begun = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    assert time.monotonic() - begun < 20

"""The WebSocket's protocol: what it accepts, what it refuses, and that its last frame says how it ended."""

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from conversations.streaming.websocket import session
from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.listening import ask_socket, completion_of, frames, send, socket
from tests.live import LiveServer
from tests.streaming.conftest import Serve


@pytest.fixture(scope="module")
def server(serve: Serve) -> LiveServer:
    return serve(CORS_ALLOW_ORIGINS="https://chat.example.com,http://localhost:5173", BODY_TIMEOUT="1", TURNS="2")


def refusal(websocket: Any, *messages: Any) -> str:
    """Sends messages that end in an ERROR. Returns its reason; the server closes the socket after it."""
    for message in messages:
        websocket.send(message if isinstance(message, str | bytes) else json.dumps(message))
    while (frame := websocket.recv(10)) in ("Session started.", "Message part received."):
        pass
    error = json.loads(frame)
    assert error["status"] == "ERROR"
    with pytest.raises(ConnectionClosed):
        websocket.recv(10)
    return error["reason"]


# ---- A session ------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_boundary_may_split_an_emoji_and_parts_come_in_any_order(server: LiveServer, alice: str) -> None:
    text = json.dumps(payload("emoji", "😀 hello 日本"), ensure_ascii=False)
    half = len(text[: text.index("😀")].encode("utf-16-le")) // 2 + 1
    units = text.encode("utf-16-le")
    first, second = units[: 2 * half], units[2 * half :]
    with socket(server) as websocket:
        websocket.send(json.dumps({"step": "START", "token": alice}))
        assert websocket.recv(10) == "Session started."
        for index, part in ((1, second), (0, first)):
            websocket.send(
                json.dumps({"step": "BODY", "index": index, "part": part.decode("utf-16-le", "surrogatepass")})
            )
            assert websocket.recv(10) == "Message part received."
        websocket.send(json.dumps({"step": "END", "token": alice}))
        assert completion_of(frames(websocket)) == "Echo: 😀 hello 日本"


@pytest.mark.both
def test_the_turn_is_stored_before_its_end_is_told(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        send(websocket, alice, payload("stored", "hello"))
        while json.loads(websocket.recv(10))["status"] != "STREAMING_END":
            pass
        status, stored = server.call("GET", "/conversation/stored", token=alice)
    assert status == 200
    assert stored["messageMap"][stored["lastMessageId"]]["role"] == "assistant"


def test_a_second_message_may_follow_on_the_same_socket(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        for text in ("one", "two"):
            send(websocket, alice, payload("twice", text))
            assert completion_of(frames(websocket)) == f"Echo: {text}"


def test_the_next_message_may_begin_before_the_last_answer_has_ended(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        send(websocket, alice, payload("eager", "[[words:5]] [[pace:0.1]]"))
        websocket.send(json.dumps({"step": "START", "token": alice}))
        assert len(completion_of(frames(websocket)).split()) == 5
        assert websocket.recv(10) == "Session started."


def test_who_does_not_wait_for_an_answer_at_all_is_refused_after_it(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        send(websocket, alice, payload("hasty", "[[words:5]] [[pace:0.1]]"))
        for _ in range(10):
            websocket.send(json.dumps({"step": "START", "token": alice}))
        assert len(completion_of(frames(websocket)).split()) == 5
        assert "Wait for an answer" in json.loads(websocket.recv(10))["reason"]


def test_a_stored_answer_is_told_again_without_a_call(server: LiveServer, alice: str, bedrock: Emulator) -> None:
    first = ask_socket(server, alice, "retry", "hello", message_id="q")
    bedrock.clear_requests()
    assert ask_socket(server, alice, "retry", "hello", message_id="q")[-2:] == first[-2:]
    assert bedrock.requests() == []


def test_an_idle_socket_is_told_and_closed(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        begun = time.monotonic()
        assert "Nothing came" in refusal(websocket, {"step": "START", "token": alice})
        assert 0.9 < time.monotonic() - begun < 5


def test_a_stranger_has_no_more_time_than_for_a_head(serve: Serve) -> None:
    server = serve(HEAD_TIMEOUT="0.5", BODY_TIMEOUT="60")
    with socket(server) as websocket:
        begun = time.monotonic()
        assert "Nothing came for 0.5 seconds." in json.loads(websocket.recv(10))["reason"]
        assert time.monotonic() - begun < 5


def test_a_stranger_sends_64_kb_at_once_and_a_user_a_megabyte(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        websocket.send(json.dumps({"step": "START", "token": "x" * 70_000}))
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009  # message too big
    with socket(server) as websocket:
        websocket.send(json.dumps({"step": "START", "token": alice}))
        assert websocket.recv(10) == "Session started."
        part = json.dumps({"step": "BODY", "index": 0, "part": "é" * 32_768})
        assert len(part) > 190_000  # every character escaped
        websocket.send(part)
        assert websocket.recv(10) == "Message part received."


def test_a_message_that_comes_too_slowly_is_refused(server: LiveServer, alice: str, serve: Serve) -> None:
    slow = serve(BODY_TIMEOUT="60", DJANGO_SETTINGS_MODULE="tests.streaming.hasty_floor")
    with socket(slow) as websocket:
        websocket.send(json.dumps({"step": "START", "token": alice}))
        assert websocket.recv(10) == "Session started."
        for number in range(100):
            websocket.send(json.dumps({"step": "BODY", "index": number, "part": "x"}))
            answer = websocket.recv(10)
            if answer != "Message part received.":
                break
            time.sleep(0.1)
    assert "less than 1024 characters a second" in json.loads(answer)["reason"]


@pytest.mark.both
def test_one_user_takes_a_share_of_the_turns_and_others_go_on(
    serve: Serve, alice: str, bob: str, bedrock: Emulator
) -> None:
    server = serve(TURNS="4", TURNS_PER_USER="2")
    with socket(server) as first, socket(server) as second, socket(server) as third, socket(server) as bobs:
        for number, websocket in enumerate((first, second)):
            send(websocket, alice, payload(f"share-{number}", "[[silence:3]] hello"))
        while len(bedrock.requests()) < 2:
            time.sleep(0.05)
        send(third, alice, payload("over-the-share", "hello"))
        assert "At most 2 of your messages are answered at a time" in frames(third)[-1]["reason"]
        status, _ = server.call("POST", "/conversation", payload("over-too", "hello"), token=alice)
        assert status == 429
        send(bobs, bob, payload("share", "hello"))
        assert completion_of(frames(bobs)) == "Echo: hello"
        assert [completion_of(frames(websocket)) for websocket in (first, second)] == ["Echo: [[silence:3]] hello"] * 2
    assert server.call("POST", "/conversation", payload("over-too", "hello"), token=alice)[0] == 200


def test_a_socket_that_had_its_last_word_is_closed_without_another(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        send(websocket, alice, payload("idle-after", "hello"))
        frames(websocket)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://localhost:9999"])
def test_a_page_of_elsewhere_gets_no_socket(server: LiveServer, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused, socket(server, origin=origin):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("origin", ["https://chat.example.com", None])
def test_the_frontends_pages_and_programs_get_one(server: LiveServer, alice: str, origin: str | None) -> None:
    with socket(server, origin=origin) as websocket:
        websocket.send(json.dumps({"step": "START", "token": alice}))
        assert websocket.recv(10) == "Session started."


def test_another_path_is_no_socket(server: LiveServer) -> None:
    with pytest.raises(InvalidStatus), socket(LiveServerAt(f"{server.url}/elsewhere")):  # type: ignore[arg-type]
        pass


class LiveServerAt:
    def __init__(self, url: str) -> None:
        self.url = url


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (["not json"], "JSON object"),
        (["[1]"], "JSON object"),
        ([b"\x00\x01"], "JSON object"),
        (["[" * 60_000], "JSON object"),
        ([{"step": "DANCE"}], "START, BODY or END"),
        ([{}], "START, BODY or END"),
        ([{"step": "BODY", "index": 0, "part": "x"}], "Send START"),
        ([{"step": "END", "token": "x"}], "Send START"),
        ([{"step": "START"}], "need a token"),
        ([{"step": "START", "token": 1}], "need a token"),
        ([{"step": "START", "token": "x"}], "cannot be verified"),
        ([{"step": "START", "token": ""}], "token"),
    ],
)
def test_what_cannot_begin_is_refused_in_a_sentence(server: LiveServer, messages: list[Any], words: str) -> None:
    with socket(server) as websocket:
        assert words in refusal(websocket, *messages)


@pytest.mark.parametrize(
    ("parts", "end", "words"),
    [
        ([], None, "no parts"),
        ([{"index": 1, "part": "x"}], None, "missing"),
        ([{"index": 0, "part": "x"}], None, "not valid JSON"),
        ([{"index": 0, "part": "{}"}], None, "conversationId: This field is required"),
        ([{"index": 0, "part": "x" * 40_000}], None, "32768 UTF-16 units"),
        ([{"index": 99_999, "part": "x"}], None, "index"),
        ([{"index": 0, "part": "{}"}], "bad", "cannot be verified"),
        ([{"index": 0, "part": json.dumps(payload("c", "x", bot_id="none"))}], None, "No bot found"),
        ([{"index": 0, "part": json.dumps(payload("a/title", "x"))}], None, "conversationId: "),
        ([{"index": 0, "part": json.dumps(payload("..", "x"))}], None, "conversationId: "),
        ([{"index": 0, "part": json.dumps(payload("c", "x", message_id="a\nb"))}], None, "message.messageId: "),
        ([{"index": 0, "part": json.dumps(payload("c", "[[denied]]"))}], None, "no access to the model"),
        ([{"index": 0, "part": json.dumps(payload("c", "[[throttle]]"))}], None, "throttling"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(
    server: LiveServer, alice: str, parts: list[Any], end: str | None, words: str
) -> None:
    with socket(server) as websocket:
        reason = refusal(
            websocket,
            {"step": "START", "token": alice},
            *({"step": "BODY", **part} for part in parts),
            {"step": "END", "token": alice if end is None else end},
        )
    assert words in reason
    assert alice not in reason
    assert "Traceback" not in reason


def test_who_ends_must_be_who_began(server: LiveServer, alice: str, bob: str) -> None:
    with socket(server) as websocket:
        websocket.send(json.dumps({"step": "START", "token": alice}))
        part = {"step": "BODY", "index": 0, "part": json.dumps(payload("c", "as bob"))}
        assert "who said START" in refusal(websocket, part, {"step": "END", "token": bob})


def test_a_suspended_user_is_told_so(server: LiveServer) -> None:
    token = server.manage("issue_token", "mallory")
    suspend = "User.objects.filter(username='mallory').update(is_active=False)"
    server.manage("shell", "-c", f"from bedrock_chat.identity.models import User; {suspend}")
    with socket(server) as websocket:
        assert "suspended" in refusal(websocket, {"step": "START", "token": token})


def test_bad_tokens_are_counted_like_those_of_requests(serve: Serve) -> None:
    server = serve(FAILED_TOKENS_RATE="2/h")
    reasons = []
    for _ in range(3):
        with socket(server) as websocket:
            reasons.append(refusal(websocket, {"step": "START", "token": "x"}))
    assert ["Too many failed tokens" in reason for reason in reasons] == [False, False, True]


@pytest.mark.both
def test_a_full_server_says_so_on_both_ways_in(server: LiveServer, alice: str, bedrock: Emulator) -> None:
    with socket(server) as first, socket(server) as second, socket(server) as third:
        for number, websocket in enumerate((first, second)):
            send(websocket, alice, payload(f"full-{number}", "[[silence:3]] hello"))
        while len(bedrock.requests()) < 2:
            time.sleep(0.05)
        send(third, alice, payload("one-too-many", "hello"))
        received = frames(third)
        assert received[-1]["status"] == "ERROR"
        assert "as many messages as it can" in received[-1]["reason"]
        status, _ = server.call("POST", "/conversation", payload("also-too-many", "hello"), token=alice)
        assert status == 503
        assert [completion_of(frames(websocket)) for websocket in (first, second)] == ["Echo: [[silence:3]] hello"] * 2


@pytest.mark.both
def test_a_client_who_vanishes_loses_nothing(server: LiveServer, alice: str) -> None:
    with socket(server) as websocket:
        send(websocket, alice, payload("gone", "[[words:20]] [[pace:0.05]]", message_id="q"))
        websocket.recv(10)
    deadline = time.monotonic() + 10
    while (stored := server.call("GET", "/conversation/gone", token=alice)[1])["lastMessageId"] == "q":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    last = stored["messageMap"][stored["lastMessageId"]]
    assert len(last["content"][0]["body"].split()) == 20
    assert "stopReason" not in last


def test_a_socket_that_breaks_while_it_is_written_to_is_no_fault_of_ours() -> None:
    async def receive() -> dict[str, Any]:
        received.append(1)
        if len(received) == 1:
            return {"type": "websocket.connect"}
        return {"type": "websocket.receive", "text": "not json"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            raise ConnectionResetError

    received: list[int] = []
    asyncio.run(session.serve({"type": "websocket", "path": "/ws"}, {}, receive, send))
    assert len(received) == 2


def test_a_message_leaves_one_line_in_the_log_and_nothing_of_what_was_said(serve: Serve, alice: str) -> None:
    server = serve(LOG_FORMAT="json", LOG_LEVEL="DEBUG")
    ask_socket(server, alice, "logged", "a private word")
    with socket(server) as websocket:
        refusal(websocket, {"step": "START", "token": alice + "x"})
    time.sleep(0.2)
    logged = server.log.read_text()
    lines = [line for text in logged.splitlines() if (line := json.loads(text)).get("route") == "/ws"]
    assert [line["status"] for line in lines] == [200, 401]
    assert lines[0]["model"] == "claude-v3.7-sonnet"
    assert lines[0]["price"] > 0
    assert "private word" not in logged
    assert alice.split(".")[1] not in logged

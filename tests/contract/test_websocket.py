"""The recorded WebSocket timelines, replayed against the real server, and what was decided otherwise."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import ClientConnection

from bedrock_chat.bedrock.events import Retrying
from conversations.streaming.events import MessageStart, Waiting
from conversations.streaming.websocket.frames import frames_of
from tests.bots.bot import payload
from tests.bots.test_parts import BASE
from tests.contract.known import KNOWN
from tests.emulator import Emulator
from tests.listening import ask_socket, socket
from tests.live import LiveServer

SAMPLES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("ws-samples.json").read_text())
BY_NAME = {sample["name"]: sample for sample in SAMPLES}

DECIDED = {
    "error-unknown-parent": "the reason is a sentence of ours",
    "error-unknown-model": "the reason is a sentence of ours",
    "error-invalid-token-end": "the reason is a sentence of ours",
    "error-end-without-start": "the reason is a sentence of ours",
    "error-end-without-parts": "the reason is a sentence of ours",
    "body-without-start-accepted": "parts are accepted only after a START, which says who sends them",
    "start-as-alice-end-as-bob": "END must come from the user who sent START",
    "invalid-json-frame": "an ERROR that says so",
}
"""Recorded bugs. Here each ends with an ERROR in one sentence, which never holds the token or a traceback."""

WITH_BOTS = {"error-shared-bot-without-alias"}
"""Recorded with an ERROR after the whole answer. Here a shared bot works at once."""

TOOLS = {"agent-tool-use", "agent-tool-error", "agent-knowledge-tool"}
"""Recorded with bots that have tools."""

EXACT = [name for name in BY_NAME if name not in DECIDED.keys() | WITH_BOTS | TOOLS]
UNRECORDED_LENGTH = 70_000
AGENT = {"toolType": "bedrock_agent", "name": "bedrock_agent", "description": "d"}


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bedrock: Emulator) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("ws"), bedrock.url) as server:
        yield server


@pytest.fixture(scope="module")
def tokens(server: LiveServer) -> dict[str, str]:
    return {name: server.manage("issue_token", name) for name in ("alice", "bob", "erin")}


def test_every_sample_is_replayed_or_named() -> None:
    assert len(BY_NAME) == len(SAMPLES)
    assert set(BY_NAME) == {*EXACT, *DECIDED, *WITH_BOTS, *TOOLS}
    assert {name for name, sample in BY_NAME.items() if sample["looksLikeBug"]} == {*DECIDED, *WITH_BOTS}


# ---- Replaying ------------------------------------------------------------------------------------------------------


def chat_input(sample: dict[str, Any], parent: str | None) -> str:
    """The complete body. The recording abbreviates long texts, and holds ids that its own server made."""
    body = json.loads(json.dumps(sample["chatInput"]))
    for block in body["message"]["content"]:
        if block["body"].endswith("chars>"):
            block["body"] = block["body"][0] * UNRECORDED_LENGTH
    if parent is not None:
        body["message"]["parentMessageId"] = parent
    return json.dumps({**body, "token": "a token that nobody reads"})


def replay(
    connection: ClientConnection, sample: dict[str, Any], tokens: dict[str, str], parent: str | None
) -> list[Any]:
    """The frames of the server, in order. The client waits for each acknowledgement that the recording has."""
    body = chat_input(sample, parent) if sample["chatInput"] else ""
    frames: list[Any] = []
    expected = [step for step in sample["timeline"] if step["from"] == "server"]
    for step in sample["timeline"]:
        if step["from"] == "server":
            continue
        if "message" not in step:
            continue  # the opening and the closing of the socket
        message = dict(step["message"])
        if "__raw" in message:
            connection.send(message["__raw"])
        else:
            if "token" in message:
                message["token"] = tokens.get(message["token"].removeprefix("<id-token:").rstrip(">"), message["token"])
            if body and "part" in message:
                message["part"] = body[message["index"] * 32_768 : (message["index"] + 1) * 32_768]
            connection.send(json.dumps(message))
        if message.get("step") in ("START", "BODY") and sample["name"] not in DECIDED:
            frames.append(connection.recv(10))
    while len(frames) < len(expected) or sample["name"] in DECIDED:
        text = connection.recv(10)
        frames.append(json.loads(text) if text.startswith("{") else text)
        if frames[-1] == "Message sent." or (isinstance(frames[-1], dict) and frames[-1]["status"] == "ERROR"):
            break
    return frames


def comparable(frames: list[Any]) -> list[Any]:
    """Frames to be compared: texts joined; counts, price and reasons by their type alone."""
    compared: list[Any] = []
    for status, grouped in groupby(frames, lambda frame: frame if isinstance(frame, str) else frame["status"]):
        group = list(grouped)
        if status in ("STREAMING", "REASONING"):
            compared.append({"status": status, "completion": "".join(frame["completion"] for frame in group)})
            continue
        for frame in group:
            if status == "STREAMING_END":
                counts = {name: type(count) for name, count in frame["token_count"].items()}
                compared.append({**frame, "token_count": counts, "price": type(frame["price"])})
            elif status == "ERROR":
                compared.append({**frame, "reason": type(frame["reason"])})
            else:
                compared.append(frame)
    return compared


@pytest.mark.parametrize("name", EXACT)
def test_a_recorded_timeline_is_answered_as_recorded(server: LiveServer, tokens: dict[str, str], name: str) -> None:
    sample, parent = BY_NAME[name], None
    if name == "plain-text-second-turn":
        ask_socket(server, tokens["alice"], sample["chatInput"]["conversationId"], "hello there websocket")
    if name == "continue-generate":
        conversation = sample["chatInput"]["conversationId"]
        ask_socket(server, tokens["alice"], conversation, "go on [[max_tokens]]")
        parent = server.call("GET", f"/conversation/{conversation}", token=tokens["alice"])[1]["lastMessageId"]
    recorded = [step["message"] for step in sample["timeline"] if step["from"] == "server"]
    if name == "connect-disconnect":  # the recorded answers to opening and closing go to API Gateway, not to the client
        recorded = []
    with socket(server) as connection:
        frames = replay(connection, sample, tokens, parent) if recorded else []
    assert comparable(frames) == comparable(recorded)


@pytest.mark.parametrize("name", DECIDED)
def test_a_recorded_bug_is_one_sentence_here(server: LiveServer, tokens: dict[str, str], name: str) -> None:
    sample = BY_NAME[name]
    if name == "error-unknown-parent":  # the parent is checked only in a conversation that has an answer
        ask_socket(server, tokens["alice"], sample["chatInput"]["conversationId"], "hello there websocket")
    with socket(server) as connection:
        frames = replay(connection, sample, tokens, None)
    assert frames[-1]["status"] == "ERROR"
    assert set(frames[-1]) == {"status", "reason"}
    reason = frames[-1]["reason"]
    assert reason.endswith(".")
    assert "Traceback" not in reason
    assert all(token not in reason for token in tokens.values())
    assert not any(isinstance(frame, dict) and frame["status"] == "STREAMING" for frame in frames)


# ---- Tools ----------------------------------------------------------------------------------------------------------

BOTS: dict[str, dict[str, Any]] = {
    "ws-agent": {"agent": {"tools": [{**AGENT, "bedrockAgentConfig": {"agentId": "A1", "aliasId": "AL1"}}]}},
    "ws-agent-noconf": {"agent": {"tools": [{**AGENT, "bedrockAgentConfig": None}]}},
    "ws-kb": {"bedrockKnowledgeBase": {**BASE, "existKnowledgeBaseId": "KB1"}, "displayRetrievedChunks": True},
}
"""The recorded bots with tools. Dave has them."""


@pytest.fixture(scope="module")
def dave(server: LiveServer) -> str:
    token = server.manage("issue_token", "dave", "--group", "CreatingBotAllowed")
    for bot_id, fields in BOTS.items():
        assert server.call("POST", "/bot", payload(bot_id, **fields), token=token)[0] == 200
    return token


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_recorded_timeline_with_tools_is_answered_as_recorded(
    server: LiveServer, bedrock: Emulator, dave: str, name: str
) -> None:
    bedrock.agents(passages=KNOWN, text="Agent answer text")
    sample = BY_NAME[name]
    recorded = [step["message"] for step in sample["timeline"] if step["from"] == "server"]
    with socket(server) as connection:
        frames = replay(connection, sample, {"dave": dave}, None)
    assert comparable([unsigned(frame) for frame in frames]) == comparable([unsigned(frame) for frame in recorded])


def unsigned(frame: Any) -> Any:
    """The frame with the object in S3 in the place of its signed address: the emulator signs none."""
    if isinstance(frame, str) or "X-Amz-Signature" not in json.dumps(frame):
        return frame
    document = frame["result"]["relatedDocument"]
    link = f"s3:/{urlsplit(document['sourceLink']).path}"
    return {**frame, "result": {**frame["result"], "relatedDocument": {**document, "sourceLink": link}}}


def test_what_the_frontend_does_not_know_is_not_sent() -> None:
    for event in (MessageStart("c", "q", "a"), Retrying(1.0), Waiting("x")):
        assert list(frames_of(event)) == []


def test_a_throttled_answer_shows_nothing_but_the_answer(server: LiveServer, tokens: dict[str, str]) -> None:
    frames = ask_socket(server, tokens["alice"], "throttled", "[[throttle:1]] hello")
    assert {frame["status"] for frame in frames[:-1]} == {"STREAMING", "STREAMING_END"}


def test_a_shared_bot_works_at_once(server: LiveServer, tokens: dict[str, str], dave: str) -> None:
    status, _ = server.call("PATCH", "/bot/ws-agent/visibility", {"targetSharedScope": "all"}, token=dave)
    assert status == 200
    [name] = WITH_BOTS
    with socket(server) as connection:
        frames = replay(connection, BY_NAME[name], tokens, None)
    recorded = [step["message"] for step in BY_NAME[name]["timeline"] if step["from"] == "server"]
    assert comparable(frames) == [*comparable(recorded)[:-1], "Message sent."]

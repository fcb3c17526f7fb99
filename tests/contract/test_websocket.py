"""The recorded WebSocket timelines, replayed against the real server, and what was decided otherwise."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from bedrock_chat.bedrock.events import Retrying
from conversations.streaming.events import MessageStart, Waiting
from conversations.streaming.websocket.frames import frames_of
from tests.bots.bot import KNOWLEDGE, payload
from tests.contract.knowledge import PASSAGES, REAL_IDS
from tests.contract.replay import SAMPLES as GOLDEN
from tests.emulator import Emulator
from tests.listening import ask_socket, resuming, socket
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
"""They are of bots of Dave's with tools; ids of agents and bases are longer here, as Bedrock's are."""

EXACT = [name for name in BY_NAME if name not in DECIDED.keys() | WITH_BOTS | TOOLS]
UNRECORDED_LENGTH = 70_000
BASE = next(sample for sample in GOLDEN if sample["name"] == "bot-create-existing-kb")["request"]["json"][
    "bedrockKnowledgeBase"
]


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Emulator]:
    with Emulator() as bedrock:
        yield bedrock


@pytest.fixture(scope="module")
def server(bedrock: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("ws"), bedrock.url) as server:
        yield server


@pytest.fixture(scope="module")
def tokens(server: LiveServer) -> dict[str, str]:
    others = {name: server.manage("issue_token", name) for name in ("alice", "bob", "erin")}
    return {**others, "dave": server.manage("issue_token", "dave", "--group", "CreatingBotAllowed")}


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


# ---- Tools and their documents --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bots_of_dave(server: LiveServer, tokens: dict[str, str]) -> None:
    agent = {"toolType": "bedrock_agent", "name": "bedrock_agent", "description": "An agent."}
    config = {"agentId": REAL_IDS["A1"], "aliasId": REAL_IDS["AL1"]}
    base = {**BASE, "existKnowledgeBaseId": REAL_IDS["KB1"]}
    for bot in (
        payload("ws-agent", agent={"tools": [{**agent, "bedrockAgentConfig": config}]}),
        payload("ws-agent-noconf", agent={"tools": [{**agent, "bedrockAgentConfig": None}]}),
        payload("ws-kb", bedrockKnowledgeBase=base, knowledge=KNOWLEDGE),
    ):
        assert server.call("POST", "/bot", bot, token=tokens["dave"])[0] == 200
    status, _ = server.call("PATCH", "/bot/ws-agent/visibility", {"targetSharedScope": "all"}, token=tokens["dave"])
    assert status == 200


def with_real_ids(frames: list[Any]) -> list[Any]:
    """Frames in which agents have ids as Bedrock's, and addresses in S3 are compared as such alone."""
    changed = []
    for frame in frames:
        if isinstance(frame, dict) and (document := frame.get("result", {}).get("relatedDocument")):
            link = document["sourceLink"] or ""
            signed = "X-Amz-Signature" in link or link.startswith("s3://")
            name = (document["sourceName"] or "").replace("(A1)", f"({REAL_IDS['A1']})")
            document = {**document, "sourceName": name, "sourceLink": "in S3" if signed else document["sourceLink"]}
            changed.append({**frame, "result": {**frame["result"], "relatedDocument": document}})
        else:
            changed.append(frame)
    return changed


@pytest.mark.usefixtures("bots_of_dave")
@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_recorded_timeline_with_tools_is_answered_as_recorded(
    server: LiveServer, bedrock: Emulator, tokens: dict[str, str], name: str
) -> None:
    bedrock.agents(passages=PASSAGES, text="Agent answer text")
    sample = BY_NAME[name]
    recorded = [step["message"] for step in sample["timeline"] if step["from"] == "server"]
    with socket(server) as connection:
        frames = replay(connection, sample, tokens, None)
    assert with_real_ids(comparable(frames)) == with_real_ids(comparable(recorded))
    conversation = sample["chatInput"]["conversationId"]
    stored = server.call("GET", f"/conversation/{conversation}", token=tokens["dave"])[1]
    question = stored["messageMap"][stored["lastMessageId"]]["parent"]
    with resuming(server, tokens["dave"], conversation, question) as listener:
        replayed = [(event.name, event.data) for event in listener]
    documents = [frame["result"] for frame in frames if isinstance(frame, dict) and "relatedDocument" in str(frame)]
    assert [data for name, data in replayed if name == "related_document"] == documents
    assert [name for name, _ in replayed if name != "related_document"] == [
        *("message_start", "text", "tool_use", "tool_result", "text", "message_stop")
    ]
    assert replayed[-1][1]["usage"]["inputTokens"] > 20, "the sum of both calls"


def test_what_the_frontend_does_not_know_is_not_sent() -> None:
    for event in (MessageStart("c", "q", "a"), Retrying(1.0), Waiting("x")):
        assert list(frames_of(event)) == []


def test_a_throttled_answer_shows_nothing_but_the_answer(server: LiveServer, tokens: dict[str, str]) -> None:
    frames = ask_socket(server, tokens["alice"], "throttled", "[[throttle:1]] hello")
    assert {frame["status"] for frame in frames[:-1]} == {"STREAMING", "STREAMING_END"}


@pytest.mark.usefixtures("bots_of_dave")
def test_a_shared_bot_works_at_once(server: LiveServer, tokens: dict[str, str]) -> None:
    [name] = WITH_BOTS
    with socket(server) as connection:
        frames = replay(connection, BY_NAME[name], tokens, None)
    recorded = [step["message"] for step in BY_NAME[name]["timeline"] if step["from"] == "server"]
    assert comparable(frames) == [*comparable(recorded)[:-1], "Message sent."]

"""The requests of an unmodified frontend, over a server and a worker of their own: a bot with files is made, asked,
changed and asked again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bots.bot import payload
from tests.bots.knowledge.sync.browser import Browser
from tests.bots.knowledge.sync.test_flow import CITED, HANDBOOK
from tests.bots.knowledge.test_retrieval import searching
from tests.bots.upload import change, sources
from tests.conversations.rounds.tooling import calls
from tests.emulator import Emulator
from tests.listening import ask, ask_socket, completion_of, frames, send, socket
from tests.live import LiveServer
from tests.metrics.scrapes import working

PDF, TEXT = "application/pdf", "text/plain"
TRAVEL = b"Trains are booked in second class, and flights need the consent of a manager."
FORM = {
    **searching(),
    "type": "dedicated",
    "knowledgeBaseId": None,
    "existKnowledgeBaseId": None,
    "webCrawlingFilters": {"excludePatterns": [""], "includePatterns": [""]},
}
"""What the bot's form sends of the knowledge base."""


@pytest.fixture
def browser(data: Path, database_url: str, emulator_process: Emulator) -> Iterator[Browser]:
    emulator_process.reset()
    server = LiveServer(data, emulator_process.url, DATABASE_URL=database_url)
    with server, working(server):
        yield Browser(server)


def test_a_bot_with_files_is_made_asked_changed_and_asked_again(browser: Browser) -> None:
    browser.call("GET", "/bot/new/agent/available-tools")
    browser.upload("b", "handbook.pdf", HANDBOOK, PDF)
    knowledge = {"knowledge": sources("handbook.pdf"), "bedrockKnowledgeBase": FORM, "displayRetrievedChunks": True}
    made = browser.call("POST", "/bot", payload("b", **knowledge))
    assert (made["syncStatus"], made["knowledge"]["filenames"]) == ("QUEUED", ["handbook.pdf"])
    bot = browser.poll("b")
    assert (bot["syncStatus"], bot["syncStatusReason"]) == ("SUCCEEDED", "Knowledge base sync succeeded")
    assert bot["bedrockKnowledgeBase"].items() >= FORM.items()  # the form shows again what it has sent
    summary = browser.call("GET", "/bot/summary/b")
    assert (summary["hasKnowledge"], summary["syncStatus"], summary["warnings"]) == (True, "SUCCEEDED", [])

    # A question over the WebSocket, and its citation.
    leave = calls(("knowledge_base_tool", {"query": "How much annual leave do I have?"}))
    with socket(browser.server) as websocket:
        send(websocket, browser.token, {**question("c", leave), "botId": "b"})
        received = frames(websocket)
    states = [frame["status"] for frame in received if isinstance(frame, dict)]
    assert {"AGENT_THINKING", "AGENT_TOOL_RESULT", "AGENT_RELATED_DOCUMENT", "STREAMING", "STREAMING_END"} <= {*states}
    assert completion_of(received)
    [handbook] = [one for one in browser.cited("c") if "thirty vacation days" in one["content"]["text"]]
    assert (handbook["sourceName"], handbook["pageNumber"]) == ("handbook.pdf", 3)
    assert CITED.fullmatch(handbook["sourceId"])
    opened = browser.open(handbook["sourceLink"])
    assert (opened.status_code, opened.content, opened.headers["Content-Type"]) == (200, HANDBOOK, PDF)

    # The handbook goes, and another file comes.
    browser.upload("b", "travel.txt", TRAVEL, TEXT)
    edited = change(deleted=["handbook.pdf"], added=["travel.txt"])
    answer = browser.call("PATCH", "/bot/b", {**payload("b", **knowledge), "knowledge": edited})
    assert answer["knowledge"]["filenames"] == ["travel.txt"]
    assert browser.open(handbook["sourceLink"]).status_code == 404  # at once
    [kept] = [one for one in browser.cited("c") if one["sourceId"] == handbook["sourceId"]]
    assert (kept["sourceLink"], kept["content"]) == (None, handbook["content"])
    assert browser.poll("b")["syncStatus"] == "SUCCEEDED"

    # Other questions, over both ways: what was removed is found no more.
    received = ask_socket(browser.server, browser.token, "d", leave, bot_id="b")
    assert received[-1] == "Message sent."
    assert "vacation" not in str(received)
    travel = calls(("knowledge_base_tool", {"query": "Which class are trains booked in?"}))
    events = ask(browser.server, browser.token, "e", travel, bot_id="b")
    assert events[-1].name == "message_stop"
    [one] = browser.cited("e")
    assert (one["sourceName"], one["pageNumber"]) == ("travel.txt", None)
    opened = browser.open(one["sourceLink"])
    assert (opened.content, opened.headers["Content-Disposition"]) == (TRAVEL, 'attachment; filename="travel.txt"')


def question(conversation: str, text: str) -> dict[str, Any]:
    """The body of a first question as the frontend's socket sends it."""
    content = [{"contentType": "text", "body": text}]
    message = {"role": "user", "content": content, "model": "claude-v3.7-sonnet", "parentMessageId": None}
    return {"conversationId": conversation, "message": message}

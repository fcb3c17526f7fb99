"""The chat page shows what tools were asked, what they gave, and the documents that an answer rests on."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.bots.bot import payload
from tests.console.chat_page.page import answers, ask, conversation_id, finished, say
from tests.console.conftest import MARKS, violations
from tests.emulator import Emulator
from tests.live import LiveServer

pytestmark = MARKS

PASSAGES = [
    {
        "content": {"type": "TEXT", "text": "Chunk one text"},
        "location": {"type": "S3", "s3Location": {"uri": "s3://doc-bucket/guide.pdf"}},
        "metadata": {"x-amz-bedrock-kb-document-page-number": 3.0},
    },
    {
        "content": {"type": "TEXT", "text": "Chunk <b>two</b> text"},
        "location": {"type": "WEB", "webLocation": {"url": "https://example.com/page"}},
    },
]
SEARCH = 'find [[tool:knowledge_base_tool:{"query":"guide"}]]'


@pytest.fixture
def bot(server: LiveServer) -> str:
    """A bot that searches a knowledge base and has an agent that is none."""
    token = server.manage("issue_token", "alice", "--group", "CreatingBotAllowed")
    base = {
        "embeddingsModel": "titan_v2",
        "openSearch": {"analyzer": None},
        "chunkingConfiguration": {"chunkingStrategy": "default"},
        "searchParams": {"maxResults": 20, "searchType": "hybrid"},
        "existKnowledgeBaseId": "KBHANDBOOK",
    }
    agent = {"toolType": "bedrock_agent", "name": "bedrock_agent", "description": "d", "bedrockAgentConfig": None}
    body: Any = payload("searcher", bedrockKnowledgeBase=base, agent={"tools": [agent]})
    status, _ = server.call("POST", "/bot", body, token=token)
    assert status in (200, 409)
    return "searcher"


def open_bot(chat: Page, server: LiveServer, bot: str) -> None:
    chat.goto(f"{server.url}/chat?bot={bot}")
    chat.locator(".greeting").wait_for()


def test_a_call_shows_its_input_and_the_documents_that_it_brought(
    chat: Page, server: LiveServer, bot: str, bedrock: Emulator
) -> None:
    bedrock.agents(passages=PASSAGES)
    open_bot(chat, server, bot)
    ask(chat, SEARCH)
    expect(answers(chat)).to_have_text("The tool said something useful.")
    for _ in ("as it was heard", "as it is stored"):
        card = chat.locator(".tool")
        expect(card).to_have_count(1)
        expect(chat.locator(".said")).to_have_text("Let me look that up.")
        expect(card.locator("summary")).to_have_text("knowledge_base_tool answered")
        card.locator("summary").click()
        assert json.loads(card.locator("pre").first.text_content() or "") == {"query": "guide"}
        sources = card.locator(".source")
        expect(sources).to_have_count(2)
        expect(sources.nth(0)).to_contain_text("guide.pdf (page 3)")
        expect(sources.nth(0).locator("p")).to_have_text("Chunk one text")
        expect(sources.nth(1).locator("p")).to_have_text("Chunk <b>two</b> text")
        link = sources.nth(1).get_by_role("link")
        expect(link).to_have_attribute("href", "https://example.com/page")
        expect(link).to_have_attribute("rel", "noopener noreferrer")
        expect(sources.nth(0).get_by_role("link")).to_have_count(0)  # an s3: address opens nothing
        chat.reload()
        finished(chat)


def test_a_failed_call_says_why(chat: Page, server: LiveServer, bot: str) -> None:
    open_bot(chat, server, bot)
    ask(chat, 'go [[tool:bedrock_agent:{"query":"q"}]]')
    for _ in ("as it was heard", "as it is stored"):
        card = chat.locator(".tool.failed")
        expect(card.locator("summary")).to_have_text("bedrock_agent failed")
        card.locator("summary").click()
        expect(card).to_contain_text("Bot does not have a Bedrock Agent configured. Query was: q")
        chat.reload()
        finished(chat)


def test_a_base_without_an_answer_is_a_failed_call(chat: Page, server: LiveServer, bot: str, bedrock: Emulator) -> None:
    open_bot(chat, server, bot)
    bedrock.agents(passages=[])
    say(chat, SEARCH)
    finished(chat)
    expect(chat.locator(".tool summary")).to_have_text("knowledge_base_tool failed")


def test_what_a_model_without_tools_was_told_is_shown_with_its_answer(
    chat: Page, server: LiveServer, bot: str, bedrock: Emulator
) -> None:
    bedrock.agents(passages=PASSAGES)
    open_bot(chat, server, bot)
    chat.select_option("#model", "deepseek-r1")
    ask(chat, "What says the guide?")
    card = chat.locator(".tool")
    expect(card.locator("summary")).to_have_text("Sources (2)")
    card.locator("summary").click()
    expect(card.locator(".source").nth(0)).to_contain_text("guide.pdf (page 3)")
    assert conversation_id(chat)


def test_what_an_answer_cites_is_a_numbered_note_with_name_page_passage_and_link(
    chat: Page, server: LiveServer, bot: str, bedrock: Emulator
) -> None:
    bedrock.agents(passages=[{**PASSAGES[1], "metadata": {"x-amz-bedrock-kb-document-page-number": 3.0}}, PASSAGES[0]])
    bedrock.queue(
        {"tools": [{"name": "knowledge_base_tool", "input": {"query": "guide"}, "id": "tooluse_1"}]},
        {"text": "Two [^tooluse_1@0][^tooluse_1@1], one again [^tooluse_1@0]. No [^other]; `[^tooluse_1@0]` is code."},
    )
    open_bot(chat, server, bot)
    ask(chat, "What says the guide?")
    for _ in ("as it was heard", "as it is stored"):
        expect(answers(chat)).to_have_text("Two 12, one again 1. No [^other]; [^tooluse_1@0] is code.")
        numbers = chat.locator(".prose .citation")
        expect(numbers).to_have_count(3)
        expect(numbers.nth(1)).to_have_attribute("aria-label", "Source 2")
        notes = chat.locator(".notes > li")
        expect(notes).to_have_count(2)
        expect(notes.nth(0).locator("summary")).to_have_text("https://example.com/page (page 3)")
        expect(notes.nth(0).locator("p")).to_be_hidden()
        numbers.nth(2).click()
        expect(notes.nth(0).locator("summary")).to_be_focused()
        expect(notes.nth(0).locator("p")).to_have_text("Chunk <b>two</b> text")
        link = notes.nth(0).get_by_role("link")
        expect(link).to_have_attribute("href", "https://example.com/page#page=3")
        expect(notes.nth(1).locator("summary")).to_have_text("guide.pdf (page 3)")
        expect(notes.nth(1).get_by_role("link", include_hidden=True)).to_have_count(0)  # an s3: address opens nothing
        assert violations(chat) == []
        chat.reload()
        finished(chat)


MANY_DOCUMENTS = """async () => {
  const page = document.querySelector("script[type=module]").src;
  const { Tools } = await import(new URL("tools.js", page));
  const { LiveAnswer } = await import(new URL("live.js", page));
  const show = Tools.prototype.show;
  const answer = new LiveAnswer("model", "");
  document.body.append(answer.element);
  answer.use({ toolUseId: "t", name: "search", input: {} });
  let paintings = 0;
  Tools.prototype.show = function () { paintings += 1; show.call(this); };
  answer.end({ toolUseId: "t", status: "success" });
  for (let n = 0; n < 200; n += 1) answer.find({ relatedDocument: { content: { text: "x" }, sourceId: `t@${n}` } });
  const atOnce = paintings;
  while (answer.isDue) await new Promise(requestAnimationFrame);
  return [atOnce, paintings, answer.element.querySelectorAll(".source").length];
}"""


def test_however_many_documents_come_a_frame_shows_them_once(chat: Page) -> None:
    assert chat.evaluate(MANY_DOCUMENTS) == [0, 1, 200]

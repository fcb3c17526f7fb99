"""Nothing in an answer runs, loads anything, or leads to a place it should not."""

import pytest
from playwright.sync_api import Page, Request, expect

from tests.console.chat_page.hostile_markdown import LINKS, PAYLOADS
from tests.console.chat_page.page import answers, ask
from tests.console.conftest import MARKS
from tests.emulator import Emulator
from tests.live import LiveServer

pytestmark = MARKS

SHOW = """
async ({ texts, size }) => {
  const { Markdown } = await import("/static/conversations/chat/markdown/markdown.js");
  const { load } = await import("/static/conversations/chat/markdown/formulas.js");
  await load();
  for (const text of texts) {
    const shown = new Markdown();
    document.getElementById("messages").append(shown.element);
    for (let at = size; at < text.length; at += size) shown.show(text.slice(0, at));
    shown.show(text, true);
  }
}
"""
INSPECT = """
() => {
  const wrong = [];
  const links = ["http:", "https:", "mailto:"];
  const prose = "p h3 h4 h5 h6 ul ol li blockquote table thead tbody tr th td strong em s hr a code pre";
  const allowed = new Set(`${prose} div span button`.split(" "));
  for (const element of document.querySelectorAll("#messages .prose *")) {
    if (element.closest(".katex")) {
      if (element.matches("a, img, script, [href], [src], [id]")) wrong.push(element.outerHTML);
    } else if (!allowed.has(element.localName)) wrong.push(element.outerHTML);
    for (const { name, value } of element.attributes) {
      if (/^on/i.test(name) || /(java|vb)script:|url\\(/i.test(value) || name === "srcdoc" || name === "id") {
        wrong.push(`${name}=${value}`);
      }
    }
    if (element.matches("a")) {
      const isOut = links.includes(element.protocol) && element.origin !== location.origin;
      const { rel, target } = element;
      if (!isOut || rel !== "noopener noreferrer" || target !== "_blank") wrong.push(element.outerHTML);
    }
  }
  return wrong;
}
"""


def test_there_are_enough_payloads() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 100


@pytest.mark.parametrize("size", [1, 10_000], ids=["letter by letter", "at once"])
def test_nothing_runs_and_nothing_is_loaded(chat: Page, server: LiveServer, size: int) -> None:
    events: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(f"{server.url}/static/"):
            events.append(request.url)

    chat.on("request", note)
    chat.on("dialog", lambda dialog: events.append(dialog.message))
    chat.evaluate(SHOW, {"texts": PAYLOADS, "size": size})
    expect(chat.locator("#messages .prose")).to_have_count(len(PAYLOADS))
    assert chat.evaluate(INSPECT) == []
    for link in chat.locator("#messages .prose a").all():
        link.dispatch_event("mouseover")
    for part in chat.locator("#messages .prose p").all():
        part.dispatch_event("click")
    assert chat.evaluate("window.hacked") is None
    assert chat.url == f"{server.url}/chat"
    assert events == []


def test_an_answer_that_is_stored_is_as_harmless(chat: Page, bedrock: Emulator) -> None:
    bedrock.script(text="\n\n".join(PAYLOADS))
    ask(chat, "Do your worst.")
    for _ in range(2):
        expect(answers(chat)).to_contain_text("window.hacked")
        assert chat.evaluate(INSPECT) == []
        assert chat.evaluate("window.hacked") is None
        chat.reload()


def test_what_leads_nowhere_good_is_no_link(chat: Page) -> None:
    chat.evaluate(SHOW, {"texts": LINKS, "size": 10_000})
    led = chat.locator("#messages .prose a").evaluate_all("links => links.map(link => link.host)")
    assert set(led) == {"evil.example"}


def test_no_text_can_become_markup(chat: Page, faults: list[str]) -> None:
    """The browser itself refuses: the page's policy has trusted types, and none that may make them."""
    refused = chat.evaluate(
        "() => { try { document.body.innerHTML = '<p>'; return null } catch (error) { return error.name } }"
    )
    assert refused == "TypeError"
    assert all("TrustedHTML" in fault for fault in faults)
    faults.clear()


def test_pictures_of_other_servers_are_links(chat: Page, bedrock: Emulator) -> None:
    bedrock.script(text="![A cat](https://pictures.example/cat.png) and ![](https://pictures.example/dog.png)")
    ask(chat, "Show me a cat.")
    links = answers(chat).get_by_role("link")
    expect(links).to_have_text(["A cat", "https://pictures.example/dog.png"])
    expect(links.first).to_have_attribute("href", "https://pictures.example/cat.png")
    expect(links.first).to_have_attribute("rel", "noopener noreferrer")
    loaded = chat.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if "pictures.example" in name] == []

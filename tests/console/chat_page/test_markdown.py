"""Answers are Markdown: how they look, how they grow, and what can be copied from them."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console.chat_page.page import answers, ask, enter, press
from tests.console.conftest import MARKS, OpenPage, violations
from tests.emulator import Emulator
from tests.live import LiveServer

pytestmark = MARKS

MIXED = r"""# Head

Some **bold** and *soft* words with `code`.
A second line.

1. one
2. two
   - deeper

| Name | Count | Price |
|:--|:-:|--:|
| りんご | 3 | $1.20 and $2 |
| two<br>lines | 4 | ~~9~~ |

```python
def half(n: int) -> float:
    return n / 2  # "half"
```

Euler knew $e^{i\pi} + 1 = 0$ and \(a^2\):

$$
\int_0^1 x\,dx
= \frac{1}{2}
$$

> said
> so

[a link](https://example.com/a?b=c)

---

The end, [by reference][r].

[r]: https://example.com/r
"""

GROW = """
async ({ text, size }) => {
  const { Markdown } = await import("/static/conversations/chat/markdown/markdown.js");
  const { load } = await import("/static/conversations/chat/markdown/formulas.js");
  await load();
  const [grown, whole] = [new Markdown(), new Markdown()];
  document.getElementById("messages").replaceChildren(grown.element, whole.element);
  for (let at = 0; at < text.length; at += size) grown.show(text.slice(0, at));
  grown.show(text, true);
  whole.show(text, true);
  return [grown.element.outerHTML, whole.element.outerHTML];
}
"""
TOUCHED = """
async ({ text, size }) => {
  const { Markdown } = await import("/static/conversations/chat/markdown/markdown.js");
  const shown = new Markdown();
  document.getElementById("messages").replaceChildren(shown.element);
  const touched = [];
  const observer = new MutationObserver(() => {});
  observer.observe(shown.element, { childList: true, characterData: true, subtree: true });
  for (let at = size; at < text.length; at += size) {
    const before = shown.element.childElementCount;
    shown.show(text.slice(0, at));
    const blocks = [...shown.element.children];
    const places = observer.takeRecords().map(({ target }) => blocks.findIndex((block) => block.contains(target)));
    touched.push(Math.max(0, ...places.filter((place) => place >= 0).map((place) => before - 1 - place)));
  }
  return touched;
}
"""
PARSED = """
async ({ text, size }) => {
  const { Markdown } = await import("/static/conversations/chat/markdown/markdown.js");
  const shown = new Markdown();
  const parsed = [];
  for (let at = size; at < text.length; at += size) {
    shown.show(text.slice(0, at));
    parsed.push(at - shown.offset);
  }
  return Math.max(...parsed);
}
"""


@pytest.fixture
def shown(chat: Page, bedrock: Emulator) -> Page:
    bedrock.script(text=MIXED)
    ask(chat, "Everything, please.")
    return chat


def test_an_answer_is_shown_as_it_is_meant(shown: Page) -> None:
    prose = answers(shown)
    expect(prose.locator("h3")).to_have_text("Head")
    expect(prose.locator("strong")).to_have_text("bold")
    expect(prose.locator("em")).to_have_text("soft")
    expect(prose.locator("p > code")).to_have_text("code")
    expect(prose.locator("ol > li")).to_have_count(2)
    expect(prose.locator("ol ul li")).to_have_text("deeper")
    expect(prose.locator("blockquote")).to_have_text("said\nso")
    expect(prose.get_by_role("link", name="a link")).to_have_attribute("href", "https://example.com/a?b=c")
    expect(prose.get_by_role("link", name="by reference")).to_have_attribute("href", "https://example.com/r")
    expect(prose.locator("hr")).to_have_count(1)


def test_a_table_has_its_cells_and_their_alignment(shown: Page) -> None:
    table = answers(shown).get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(["Name", "Count", "Price"])
    expect(table.locator("tbody tr")).to_have_count(2)
    expect(table.get_by_role("cell").nth(1)).to_have_css("text-align", "center")
    expect(table.get_by_role("cell").nth(2)).to_have_css("text-align", "right")
    expect(table.get_by_role("cell").nth(2)).to_have_text("$1.20 and $2")
    assert table.get_by_role("cell").nth(3).inner_text() == "two\nlines"


def test_formulas_are_set(shown: Page) -> None:
    expect(answers(shown).locator(".katex")).to_have_count(3)
    expect(answers(shown).locator(".katex-display")).to_have_count(1)
    expect(answers(shown).locator("annotation").first).to_have_text(r"e^{i\pi} + 1 = 0")
    assert shown.evaluate("document.fonts.ready.then(() => document.fonts.check('16px KaTeX_Main'))")


def test_code_has_its_colours_and_a_button_that_copies_it(
    open_page: OpenPage, server: LiveServer, token: str, bedrock: Emulator
) -> None:
    page = enter(open_page(permissions=["clipboard-read", "clipboard-write"]), server, token)
    bedrock.script(text="```python\ndef half(n):\n    return n / 2\n```\nand\n```\nplain\n```")
    ask(page, "Halve it.")
    blocks = answers(page).locator(".code")
    expect(blocks).to_have_count(2)
    expect(blocks.first.locator(".code-head span")).to_have_text("python")
    expect(blocks.first.locator(".hljs-keyword")).to_have_text(["def", "return"])
    expect(blocks.first.locator("pre")).to_have_text("def half(n):\n    return n / 2\n")
    blocks.first.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "def half(n):\n    return n / 2\n"


def test_what_a_user_writes_stays_as_it_was_typed(chat: Page) -> None:
    ask(chat, "# not a *head*\n1. one\n```\ncode\n```\n$x$")
    assert chat.locator(".bubble p, .bubble pre").all_text_contents() == ["# not a *head*\n1. one", "code", "$x$"]


@pytest.mark.parametrize(
    ("written", "bold"),
    [
        ("**「強調」**です。", "「強調」"),
        ("これは**「強調」**です。", "「強調」"),
        ("価格は**1,000円（税込）**から。", "1,000円（税込）"),
        ("**중요:**입니다", "중요:"),
    ],
)
def test_emphasis_needs_no_spaces_in_languages_without_them(chat: Page, written: str, bold: str) -> None:
    ask(chat, written)
    expect(answers(chat).locator("strong")).to_have_text(bold)


def test_an_address_ends_where_the_sentence_goes_on(chat: Page) -> None:
    ask(chat, "詳しくはhttps://example.com/docsをご覧ください。")
    expect(answers(chat).get_by_role("link")).to_have_attribute("href", "https://example.com/docs")


@pytest.mark.parametrize("money", ["It costs $5, or $10 for two.", "US$100 and US$200", "$ 5 and 6 $", "Pay $20/$30."])
def test_money_is_no_formula(chat: Page, money: str) -> None:
    ask(chat, money)
    expect(answers(chat)).to_have_text(f"Echo: {money}")
    expect(answers(chat).locator(".formula")).to_have_count(0)


def test_a_formula_that_is_not_understood_shows_its_source(chat: Page) -> None:
    ask(chat, "$\\nonsense{x}$ and $\\frac{1}{$")
    expect(answers(chat)).to_have_text("Echo: $\\nonsense{x}$ and $\\frac{1}{$")


# ---- Growing --------------------------------------------------------------------------------------------------------

TRICKY = [
    MIXED,
    "para\n#tag goes on\n# Head",
    "para\n***bold* text**",
    "a | b\n--|--\n1 | 2\n\nafter",
    "$$\na\n- b\n$$\nafter",
    "$$\na\n\nnever closed",
    "- a\n\n- b\n\n  more\n- c\n\nend",
    "1. a\n1.5 m\n2. b",
    "```js\nlet a = `${b}`;\n",
    "~~~\na\n~~~~\nb\n\n~~~",
    "text\n===\nmore\n---\n***\n- - -",
    "> a\nlazy\n\n> b\n>> c\n",
    "[a]\n\n[a]: https://example.com/\n\n[b]\n\n[b]: https://example.com/b",
    "a\r\nb\r\n\r\n- c\r\n- d\r\n",
    "    code\n\n    more\n\ntext",
    "**open\n\nclosed** `a\n\nb` \\(x\n\ny\\)",
]


@pytest.mark.parametrize("size", [1, 3, 17])
def test_an_answer_that_grew_is_the_one_that_came_at_once(chat: Page, size: int) -> None:
    for text in TRICKY:
        grown, whole = chat.evaluate(GROW, {"text": text, "size": size})
        assert grown == whole, text


def test_only_the_last_blocks_are_touched(chat: Page) -> None:
    touched = chat.evaluate(TOUCHED, {"text": MIXED * 4, "size": 5})
    assert len(touched) > 300
    assert max(touched) <= 1


def test_what_is_parsed_again_is_no_longer_than_a_block(chat: Page) -> None:
    assert chat.evaluate(PARSED, {"text": MIXED * 20, "size": 20}) < 200


def test_an_answer_stays_in_its_place_when_it_is_complete(chat: Page, bedrock: Emulator) -> None:
    bedrock.script(words=40, pace=0.02)
    chat.fill("#text", "Go on.")
    chat.press("#text", "Enter")
    expect(answers(chat)).to_contain_text("quick")
    chat.evaluate("window.first = document.querySelector('.answer .prose p')")
    chat.locator("#send").wait_for()
    assert chat.evaluate("window.first.isConnected && first === document.querySelector('.answer .prose p')")


def test_its_buttons_speak_the_language_that_is_chosen(shown: Page) -> None:
    press(shown, "日本語")
    expect(answers(shown).get_by_role("button", name="コピー")).to_be_visible()


# ---- For everybody --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_nobody_is_shut_out_of_an_answer(
    open_page: OpenPage, server: LiveServer, token: str, bedrock: Emulator, width: int, scheme: Any
) -> None:
    page = enter(open_page(width, 844, color_scheme=scheme), server, token)
    bedrock.script(
        text=MIXED + "\n|" + "wide column|" * 30 + "\n|" + "-|" * 30 + "\n\n```css\n" + "a { color: red } " * 30
    )
    ask(page, "Everything, please.")
    expect(answers(page).locator(".katex")).to_have_count(3)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_long_conversation_is_written_from_its_end_and_whole_in_the_end(chat: Page, server: LiveServer) -> None:
    def body(number: int, role: str) -> dict[str, Any]:
        return {
            "role": role,
            "content": [{"contentType": "text", "body": f"**{role} {number}**"}],
            "model": "claude-v4.5-sonnet",
            "children": [f"m{number + 1}"] if number < 199 else [],
            "parent": f"m{number - 1}" if number else "system",
            "feedback": None,
            "usedChunks": None,
            "thinkingLog": None,
        }

    system = {"role": "system", "content": [], "model": "claude-v4.5-sonnet", "children": ["m0"], "parent": None}
    messages = {f"m{number}": body(number, ("user", "assistant")[number % 2]) for number in range(200)}
    conversation = {
        "id": "long",
        "title": "Long",
        "createTime": 1.0,
        "messageMap": {"system": system, **messages},
        "lastMessageId": "m199",
        "botId": None,
        "botAvailable": None,
        "shouldContinue": False,
    }
    chat.route("**/conversation/long", lambda route: route.fulfill(json=conversation))
    chat.goto(f"{server.url}/chat#c=long")
    expect(answers(chat).last).to_have_text("assistant 199")
    expect(answers(chat).locator("strong")).to_have_count(100)
    expect(answers(chat).first).to_have_text("assistant 1")

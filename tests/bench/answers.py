"""`make bench-answers`: what an answer that grows costs the chat page, frame by frame, as JSON on stdout.

Answers of 20,000 characters come at 50 deltas a second, through the page itself in headless Chromium: its stream, its
Markdown, its layout, its painting, and the moment when the answer is complete. The figures are the CPU of the page's
main thread in its longest task (`worstMs`) and in the 99th of a hundred, from Chromium's own trace, which is what a
frame costs on a machine that does nothing else. docs/PERFORMANCE.md says what is expected.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.console.conftest import CHROMIUM, QUIET
from tests.emulator import Emulator
from tests.live import LiveServer

LENGTH = 20_000
DELTAS_A_SECOND = 50
SIZE = 40
CATEGORIES = ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"]

SENTENCE = "Some **bold** words and `code`, a [link](https://example.com/x) and *more* text that goes on. "
FUNCTION = (
    'def half(number: int) -> str:\n    # halves it\n    return f"{number / 2} is half" if number else "none"\n\n'
)
KINDS = {
    "mixed": f"## Head\n\n{SENTENCE * 3}\n\n- one\n- two\n\n```python\n{FUNCTION}```\n\n|a|b|\n|-|-|\n|1|$x^2$|\n\n",
    "paragraphs": f"{SENTENCE * 4}\n\n",
    "oneParagraph": SENTENCE,
    "oneList": "- item **bold** with `code` and text\n",
    "nestedList": "- a **b**\n  - c `d`\n    - e\n",
    "oneTable": "| some text | **bold** | `code` here |\n",
    "oneCodeBlock": FUNCTION,
    "formulas": "The sum $\\sum_{i=0}^n i^2$ and\n\n$$\n\\int_0^1 x^2 dx\n$$\n\n",
    "japanese": "これは**「強調」**です。日本語の文章が続きます。",
    "openBrackets": "[a](",
    "openStars": "**a*",
    "dollars": "$a ",
}
BEGINNINGS = {"oneTable": "|a|b|c|\n|-|-|-|\n", "oneCodeBlock": "```python\n"}

FEED = """
(() => {
  const fetched = window.fetch;
  window.fetch = (url, options) => {
    const { text, size, pause } = window.answer ?? {};
    if (!text || options?.method !== "POST" || url !== "/conversation") return fetched(url, options);
    const told = new TextEncoder();
    const event = (name, data) => told.encode(`event: ${name}\\ndata: ${JSON.stringify(data)}\\n\\n`);
    const body = new ReadableStream({
      async start(stream) {
        stream.enqueue(event("message_start", { continues: false }));
        for (let at = 0; at < text.length; at += size) {
          stream.enqueue(event("text", { text: text.slice(at, at + size) }));
          await new Promise((resolve) => setTimeout(resolve, pause));
        }
        stream.enqueue(event("message_stop", { answerId: "answer", stopReason: "end_turn", usage: null, price: null }));
        stream.close();
      },
    });
    return Promise.resolve(new Response(body));
  };
})();
"""


def measure(browser: Browser, server: LiveServer, token: str, kind: str, length: int) -> dict[str, Any]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.add_init_script(FEED)
    page.goto(f"{server.url}/chat#token={token}")
    page.locator(".greeting").wait_for()
    page.wait_for_timeout(1000)
    text = (BEGINNINGS.get(kind, "") + KINDS[kind] * (length // len(KINDS[kind]) + 1))[:length]
    page.evaluate("answer => { window.answer = answer }", {"text": text, "size": SIZE, "pause": 1000 / DELTAS_A_SECOND})
    browser.start_tracing(page=page, categories=CATEGORIES)
    _answer(page, length)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    elements = page.locator(".answer *").count()
    page.close()
    tasks = sorted(_tasks(events), reverse=True)
    return {"worstMs": tasks[0], "p99Ms": tasks[len(tasks) // 100], "tasks": len(tasks), "elements": elements}


def _answer(page: Page, length: int) -> None:
    page.fill("#text", "Go on.")
    page.press("#text", "Enter")
    page.locator("#send").wait_for(state="hidden")
    page.locator("#send").wait_for(timeout=120_000 + length)
    page.wait_for_timeout(500)


def _tasks(events: list[dict[str, Any]]) -> list[float]:
    """The CPU of each task of the page's main thread, in milliseconds."""
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event.get("name") == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        round(event.get("tdur", event["dur"]) / 1000, 1)
        for event in events
        if event["name"] == "RunTask" and event["ph"] == "X" and (event["pid"], event["tid"]) in mains
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short answers, which only show that it works")
    parser.add_argument("--kind", choices=KINDS, action="append")
    options = parser.parse_args()
    length = LENGTH // 20 if options.quick else LENGTH
    with (
        tempfile.TemporaryDirectory() as folder,
        Emulator() as bedrock,
        LiveServer(Path(folder), bedrock.url) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        token = server.manage("issue_token", "alice")
        kinds = options.kind or KINDS
        print(json.dumps({kind: measure(browser, server, token, kind, length) for kind in kinds}, indent=2))
        browser.close()


if __name__ == "__main__":
    main()

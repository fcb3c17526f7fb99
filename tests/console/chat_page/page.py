"""What users do on the chat page, and what the server has stored of it."""

import re
from typing import Any
from urllib.parse import unquote

from playwright.sync_api import Locator, Page

from tests.live import LiveServer

LONG = "A long one. [[words:120]] [[pace:0.02]]"
WORDS = "the quick brown fox jumps over the lazy dog and ".split()  # noqa: SIM905  it is a sentence


def words(count: int) -> str:
    """The emulator's answer to `[[words:count]]`."""
    return " ".join((WORDS * (count // len(WORDS) + 1))[:count])


def enter(page: Page, server: LiveServer, token: str) -> Page:
    page.goto(f"{server.url}/chat#token={token}")
    page.locator(".greeting").wait_for()
    return page


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def ask(page: Page, text: str) -> None:
    """Says something and waits for the end of the answer."""
    say(page, text)
    finished(page)


def finished(page: Page) -> None:
    """Waits until no turn runs. On the page a turn runs from the moment that it is sent."""
    page.locator("#send").wait_for()


def press(page: Page, name: str, nth: int = -1) -> None:
    """Presses the button of that name, by default that of the last message that has one."""
    page.get_by_role("button", name=name, exact=True).nth(nth).click()


def answers(page: Page) -> Locator:
    return page.locator(".answer .prose")


def conversation_id(page: Page) -> str:
    match = re.search(r"#c=(.+)$", page.url)
    assert match, page.url
    return unquote(match[1])


def stored(page: Page, server: LiveServer, token: str) -> Any:
    status, conversation = server.call("GET", f"/conversation/{conversation_id(page)}", token=token)
    assert status == 200
    return conversation


def branch(conversation: Any) -> list[str]:
    """The texts from the first message to the last."""
    texts, at, messages = [], conversation["lastMessageId"], conversation["messageMap"]
    while at != "system":
        texts.insert(0, "".join(part["body"] for part in messages[at]["content"] if part["contentType"] == "text"))
        at = messages[at]["parent"]
    return texts

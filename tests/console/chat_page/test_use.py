"""How the page to try the product is used: tokens, branches, files, keys, languages, sizes."""

import base64
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.console.chat_page.page import (
    LONG,
    answers,
    ask,
    branch,
    conversation_id,
    enter,
    finished,
    press,
    say,
    stored,
)
from tests.console.conftest import MARKS, OpenPage, violations
from tests.emulator import Emulator
from tests.live import LiveServer

pytestmark = MARKS


# ---- The token ------------------------------------------------------------------------------------------------------


def test_the_token_leaves_the_address_bar_and_stays_in_the_browser(chat: Page, server: LiveServer) -> None:
    assert chat.url == f"{server.url}/chat"
    assert "token" not in chat.evaluate("JSON.stringify(history.state)+location.href")
    chat.reload()
    expect(chat.locator(".greeting")).to_be_visible()
    expect(chat.locator("#who")).to_have_text("alice")


def test_without_a_token_one_is_asked_for(page: Page, server: LiveServer, token: str) -> None:
    page.goto(f"{server.url}/chat")
    expect(page.get_by_text("python manage.py issue_token alice")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("textbox", name="Token").fill(token)
    page.keyboard.press("Enter")
    expect(page.locator(".greeting")).to_be_visible()
    press(page, "Forget the token")
    expect(page.get_by_role("textbox", name="Token")).to_be_focused()
    assert page.evaluate("localStorage.getItem('chat.token')") is None


def test_a_refused_token_is_forgotten(page: Page, server: LiveServer, faults: list[str]) -> None:
    page.goto(f"{server.url}/chat#token=nonsense")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    assert page.evaluate("localStorage.getItem('chat.token')") is None
    assert all("401" in fault for fault in faults)
    faults.clear()


# ---- Branches -------------------------------------------------------------------------------------------------------


def test_an_edit_makes_a_branch_one_can_go_back_from(chat: Page, server: LiveServer, token: str) -> None:
    ask(chat, "one")
    ask(chat, "two")
    press(chat, "Edit", 0)
    expect(chat.locator("#text")).to_have_value("one")
    ask(chat, "uno")
    assert answers(chat).all_text_contents() == ["Echo: uno"]
    expect(chat.locator(".count")).to_have_text("2/2")
    assert branch(stored(chat, server, token)) == ["uno", "Echo: uno"]
    press(chat, "Previous version")
    assert answers(chat).all_text_contents() == ["Echo: one", "Echo: two"]
    expect(chat.get_by_role("button", name="Next version")).to_be_focused()
    ask(chat, "three")
    assert branch(stored(chat, server, token)) == ["one", "Echo: one", "two", "Echo: two", "three", "Echo: three"]


def test_an_edit_can_be_called_off(chat: Page) -> None:
    ask(chat, "one")
    press(chat, "Edit")
    chat.keyboard.press("Escape")
    expect(chat.locator("#text")).to_have_value("")
    expect(chat.locator("#editing")).to_be_hidden()


def test_another_answer_stands_beside_the_first(chat: Page, bedrock: Emulator) -> None:
    ask(chat, "one")
    bedrock.script(text="Another one.")
    press(chat, "Answer again")
    expect(answers(chat)).to_have_text("Another one.")
    expect(chat.locator(".count")).to_have_text("2/2")
    press(chat, "Previous version")
    expect(answers(chat)).to_have_text("Echo: one")


# ---- What is sent ---------------------------------------------------------------------------------------------------


def test_an_image_and_a_document_are_sent_and_shown(chat: Page, bedrock: Emulator, png: str) -> None:
    chat.set_input_files(
        "#files",
        [
            {"name": "dot.png", "mimeType": "image/png", "buffer": base64.b64decode(png)},
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"notes"},
        ],
    )
    expect(chat.locator("#chosen li")).to_have_count(2)
    ask(chat, "What is this?")
    expect(answers(chat)).to_contain_text("I see an image.")
    for _ in range(2):
        assert chat.locator(".question img").evaluate("image => image.naturalWidth") == 1
        expect(chat.locator(".question .file")).to_have_text("notes.txt")
        chat.reload()
        answers(chat).wait_for()
    body = next(request["body"] for request in bedrock.requests() if request["operation"] == "ConverseStream")
    assert {kind for block in body["messages"][-1]["content"] for kind in block} >= {"text", "image", "document"}


def test_the_chosen_model_is_asked_and_only_what_it_can_do_is_offered(chat: Page, bedrock: Emulator) -> None:
    chat.select_option("#model", label="Nova Micro")
    expect(chat.get_by_role("button", name="Add images or documents")).to_be_disabled()
    expect(chat.locator("#think")).to_be_hidden()
    ask(chat, "hello")
    expect(chat.locator(".answer h2")).to_have_text("Nova Micro")
    assert any("nova-micro" in request["model"] for request in bedrock.requests())
    chat.reload()
    expect(chat.locator("#model")).to_have_value("amazon-nova-micro")


def test_a_conversation_is_deleted_once_that_is_certain(chat: Page, server: LiveServer, token: str) -> None:
    ask(chat, "hello")
    doomed = conversation_id(chat)
    press(chat, "Delete this conversation")
    press(chat, "Cancel")
    assert server.call("GET", f"/conversation/{doomed}", token=token)[0] == 200
    press(chat, "Delete this conversation")
    press(chat, "Delete")
    expect(chat.locator(".greeting")).to_be_visible()
    assert server.call("GET", f"/conversation/{doomed}", token=token)[0] == 404


# ---- How it is used -------------------------------------------------------------------------------------------------


def test_the_keyboard_is_enough(chat: Page) -> None:
    chat.locator("#new").focus()
    chat.keyboard.press("Shift+Tab")
    expect(chat.get_by_role("button", name="Skip to the message box")).to_be_focused()
    chat.keyboard.press("Enter")
    expect(chat.locator("#text")).to_be_focused()
    chat.keyboard.type("first line")
    chat.keyboard.press("Shift+Enter")
    chat.keyboard.type("second line")
    chat.keyboard.press("Enter")
    expect(answers(chat)).to_have_text("Echo: first line\nsecond line")
    expect(chat.locator("#text")).to_be_focused()
    chat.keyboard.type(LONG)
    chat.keyboard.press("Enter")
    expect(answers(chat).last).to_contain_text("quick brown")
    chat.keyboard.press("Escape")
    expect(chat.get_by_text("Stopped.")).to_be_visible()
    chat.locator("body").evaluate("body => document.activeElement.blur()")
    chat.keyboard.press("/")
    expect(chat.locator("#text")).to_be_focused()
    expect(chat.locator("#text")).to_have_value("")
    chat.locator("#model").focus()
    chat.keyboard.press("Control+k")
    expect(chat.locator("#text")).to_be_focused()


def test_the_return_that_ends_a_composition_sends_nothing(chat: Page) -> None:
    chat.fill("#text", "日本語")
    chat.locator("#text").dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    chat.wait_for_timeout(100)
    expect(chat.locator("#text")).to_have_value("日本語")
    expect(chat.locator("article")).to_have_count(0)


def test_the_end_is_followed_unless_somebody_reads_further_up(chat: Page) -> None:
    chat.set_viewport_size({"width": 1400, "height": 420})
    ask(chat, "Fill the page. [[words:300]]")
    say(chat, "And more. [[words:300]] [[pace:0.01]]")
    expect(answers(chat).last).to_contain_text("quick brown")
    gap = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
    assert chat.locator("#log").evaluate(gap) < 32
    chat.locator("#log").hover()
    chat.mouse.wheel(0, -400)
    expect(chat.get_by_role("button", name="Jump to the latest")).to_be_visible()
    read = chat.locator("#log").evaluate("log => log.scrollTop")
    finished(chat)
    assert chat.locator("#log").evaluate("log => log.scrollTop") == read
    press(chat, "Jump to the latest")
    assert chat.locator("#log").evaluate(gap) < 32


def test_it_speaks_japanese(open_page: OpenPage, server: LiveServer, token: str) -> None:
    page = enter(open_page(locale="ja-JP"), server, token)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    expect(page.get_by_role("button", name="新しいチャット")).to_be_visible()
    expect(page.get_by_placeholder("メッセージを入力")).to_be_visible()
    ask(page, "こんにちは")
    expect(answers(page)).to_have_text("Echo: こんにちは")
    expect(page.get_by_role("status")).to_have_text("回答が完了しました。")
    press(page, "English")
    expect(page.get_by_role("button", name="New chat")).to_be_visible()
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_the_theme_follows_the_system_until_one_is_chosen(open_page: OpenPage, server: LiveServer, token: str) -> None:
    page = enter(open_page(color_scheme="dark"), server, token)
    color = "body => getComputedStyle(body).backgroundColor"
    dark = page.locator("body").evaluate(color)
    press(page, "Switch between light and dark")
    assert page.locator("body").evaluate(color) == "rgb(255, 255, 255)" != dark
    page.reload()
    assert page.locator("body").evaluate(color) == "rgb(255, 255, 255)"


def test_on_a_narrow_screen_the_list_is_a_drawer(open_page: OpenPage, server: LiveServer, token: str) -> None:
    page = enter(open_page(390, 844), server, token)
    ask(page, "hello")
    expect(page.locator("aside")).to_be_hidden()
    press(page, "Open the list of conversations")
    expect(page.get_by_role("button", name="New chat")).to_be_focused()
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(page.locator("aside")).to_be_hidden()
    expect(page.get_by_role("button", name="Open the list of conversations")).to_be_focused()
    press(page, "Open the list of conversations")
    page.locator("nav a").nth(1).click()
    expect(page.locator("aside")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_nobody_is_shut_out(open_page: OpenPage, server: LiveServer, token: str, width: int, scheme: Any) -> None:
    page = enter(open_page(width, 844, color_scheme=scheme), server, token)
    assert violations(page) == []
    press(page, "Reasoning")
    ask(page, "hello\n```\ncode\n```")
    page.locator("summary").click()
    assert violations(page) == []
    ask(page, "Broken. [[words:20]] [[cut:after:10]]")
    press(page, "Edit")
    assert violations(page) == []
    press(page, "Cancel")
    say(page, LONG)
    expect(answers(page).last).to_contain_text("quick brown")
    assert violations(page) == []
    press(page, "Delete this conversation")
    assert violations(page) == []


def test_everything_comes_from_the_server_itself(chat: Page, server: LiveServer) -> None:
    ask(chat, "hello")
    fetched = chat.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(fetched) > 10
    assert [name for name in fetched if not name.startswith(server.url)] == []

"""Bots on the chat page: found, opened, chatted with, named in conversations, and gone."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from bots.configuration import WIRE_KEYS
from tests.bots.bot import payload
from tests.console.chat_page.page import answers, ask, enter, press, say, stored
from tests.console.conftest import MARKS, OpenPage, violations
from tests.emulator import Emulator
from tests.live import LiveServer

pytestmark = MARKS

STARTERS = [{"title": "Greet", "example": "Say hello, please."}, {"title": "訳す", "example": "訳してください。"}]
LONG = "A title that goes on and on, as titles will when nobody stops them. " * 3
MakeBot = Callable[..., str]

numbers = itertools.count()


@pytest.fixture(scope="package")
def carol(server: LiveServer) -> str:
    return server.manage("issue_token", "carol", "--group", "CreatingBotAllowed")


@pytest.fixture
def make_bot(server: LiveServer, carol: str) -> MakeBot:
    """Carol makes a bot that everybody may use. Returns its id."""

    def make(**fields: Any) -> str:
        bot_id = f"bot-{next(numbers)}"
        scope = fields.pop("scope", "all")
        assert server.call("POST", "/bot", payload(bot_id, **fields), token=carol)[0] == 200
        share(bot_id, scope)
        return bot_id

    def share(bot_id: str, scope: str) -> None:
        body = {"targetSharedScope": scope}
        assert server.call("PATCH", f"/bot/{bot_id}/visibility", body, token=carol)[0] == 200

    return make


@pytest.fixture
def alice(server: LiveServer) -> str:
    """The token of somebody who has used no bot yet."""
    return server.manage("issue_token", f"alice-{next(numbers)}")


def meta(bot_id: str, **fields: Any) -> dict[str, Any]:
    """A bot as the store answers it."""
    return {
        "id": bot_id,
        "title": f"Title of {bot_id}",
        "description": f"Description of {bot_id}",
        "createTime": 1.0,
        "lastUsedTime": 1.0,
        "isStarred": False,
        "owned": False,
        "available": True,
        "syncStatus": "SUCCEEDED",
        "sharedScope": "all",
        "sharedStatus": "shared",
        **fields,
    }


def stock(page: Page, popular: list[Any], hits: list[Any] | None = None) -> None:
    """Puts bots into the store."""

    def answer(route: Route) -> None:
        bots = popular if route.request.url.endswith("/store/popular") else hits or []
        route.fulfill(content_type="application/json", body=json.dumps(bots))

    page.route("**/store/*", answer)


def open_bot(page: Page, server: LiveServer, token: str, bot_id: str) -> Page:
    page.goto(f"{server.url}/chat?bot={bot_id}#token={token}")
    page.locator(".greeting").wait_for()
    return page


def all_bots(page: Page, *popular: Any, hits: list[Any] | None = None) -> None:
    stock(page, list(popular), hits)
    page.get_by_role("link", name="All bots").click()
    page.locator("#finder[aria-busy=false]").wait_for()


def forbid(faults: list[str], *statuses: str) -> None:
    """Takes refusals that were provoked from the list of faults."""
    assert all(any(status in fault for status in statuses) for fault in faults)
    faults.clear()


# ---- Begun ----------------------------------------------------------------------------------------------------------


def test_a_link_opens_a_bot_for_somebody_new(page: Page, server: LiveServer, make_bot: MakeBot, alice: str) -> None:
    bot_id = make_bot(title="The helper", conversationQuickStarters=STARTERS)
    page.goto(f"{server.url}/chat?bot={bot_id}")
    page.get_by_role("textbox", name="Token").fill(alice)
    page.keyboard.press("Enter")
    expect(page.locator(".greeting h2")).to_have_text("The helper")
    expect(page.locator(".about")).to_have_text(f"Description of {bot_id}")
    expect(page.locator(".examples button strong")).to_have_text(["Greet", "訳す"])
    expect(page.locator("#bot")).to_have_text("The helper")
    assert "token" not in page.url
    page.reload()
    expect(page.locator(".greeting h2")).to_have_text("The helper")


def test_a_quick_starter_asks_its_question(page: Page, server: LiveServer, make_bot: MakeBot, alice: str) -> None:
    bot_id = make_bot(title="The helper", conversationQuickStarters=STARTERS)
    open_bot(page, server, alice, bot_id)
    page.get_by_role("button", name="Greet").click()
    expect(answers(page)).to_have_text("Echo: Say hello, please.")
    page.locator("#send").wait_for()
    assert stored(page, server, alice)["botId"] == bot_id
    expect(page.locator("#bot")).to_have_text("The helper")
    expect(page.locator("#list a small")).to_have_text("The helper")
    page.reload()
    expect(answers(page)).to_have_text("Echo: Say hello, please.")
    expect(page.locator("#bot")).to_have_text("The helper")
    page.locator("#bot a").click()
    expect(page.locator(".greeting h2")).to_have_text("The helper")


def test_the_next_question_goes_to_the_same_bot_and_a_new_chat_to_none(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str, bedrock: Emulator
) -> None:
    open_bot(page, server, alice, make_bot(instruction="Speak like a pirate."))
    ask(page, "one")
    ask(page, "two")
    bedrock.clear_requests()
    press(page, "Edit")
    ask(page, "three")
    assert "pirate" in json.dumps(bedrock.requests()[0]["body"]["system"])
    press(page, "New chat")
    ask(page, "four")
    assert stored(page, server, alice)["botId"] is None


def test_only_models_that_the_bot_takes_are_offered(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str
) -> None:
    page.goto(f"{server.url}/chat")
    models = json.loads(page.locator("#config").text_content() or "")["models"]
    flags = {model["flag"]: model["flag"] == "amazonNovaMicro" for model in models}
    open_bot(page, server, alice, make_bot(activeModels=flags))
    expect(page.locator("#model")).to_have_value("amazon-nova-micro")
    assert page.locator("#model option:enabled").count() == 1
    press(page, "New chat")
    expect(page.locator(".greeting h2")).to_have_text("What shall we talk about?")
    assert page.locator("#model option:enabled").count() > 20


def test_what_a_bot_cannot_do_is_said(page: Page, server: LiveServer, make_bot: MakeBot, alice: str) -> None:
    tool = {"toolType": "plain", "name": "calculator", "description": ""}
    able = {**dict.fromkeys(WIRE_KEYS.values(), False), "claudeV45Sonnet": True}
    bot_id = make_bot(agent={"tools": [tool]}, activeModels=able)
    warning = server.call("GET", f"/bot/summary/{bot_id}", token=alice)[1]["warnings"]
    assert warning == ["The tool calculator is not known here."]
    open_bot(page, server, alice, bot_id)
    expect(page.locator(".greeting .warning")).to_have_text(warning)
    ask(page, "Search for it.")
    expect(page.locator(".answer .warning")).to_have_text(warning)


# ---- Gone -----------------------------------------------------------------------------------------------------------


def test_a_conversation_whose_bot_is_gone_is_read_and_not_continued(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str, carol: str
) -> None:
    bot_id = make_bot(title="The helper")
    open_bot(page, server, alice, bot_id)
    ask(page, "hello")
    assert server.call("PATCH", f"/bot/{bot_id}/visibility", {"targetSharedScope": "private"}, token=carol)[0] == 200
    page.reload()
    expect(answers(page)).to_have_text("Echo: hello")
    expect(page.locator("#bot")).to_have_text("The helper")
    expect(page.locator("#closed")).to_contain_text("not available any more")
    expect(page.locator("#text")).to_be_disabled()
    expect(page.get_by_role("button", name="Edit")).to_have_count(0)
    expect(page.get_by_role("button", name="Answer again")).to_have_count(0)
    expect(page.locator("#bots .gone")).to_contain_text("The helper")
    assert violations(page) == []
    all_bots(page)
    expect(page.locator(".cards .gone")).to_contain_text("Not available any more")
    press(page, "New chat")
    expect(page.locator("#text")).to_be_enabled()


@pytest.mark.parametrize("scope", [None, "private"], ids=["unknown", "another's"])
def test_a_link_to_a_bot_that_one_may_not_use_says_so(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str, faults: list[str], scope: str | None
) -> None:
    bot_id = "nowhere" if scope is None else make_bot(scope=scope)
    page.goto(f"{server.url}/chat?bot={bot_id}#token={alice}")
    expect(page.locator("#closed")).to_have_text("There is no such bot, or it is not shared with you.")
    expect(page.locator("#text")).to_be_disabled()
    forbid(faults, "404", "403")


def test_what_the_server_says_against_a_bot_is_shown(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str, faults: list[str]
) -> None:
    bot_id = make_bot()
    busy = {"status": 503, "content_type": "application/json", "body": '{"detail":"Try later.","errors":["x"]}'}
    page.route("**/bot/summary/*", lambda route: route.fulfill(**busy), times=1)
    page.goto(f"{server.url}/chat?bot={bot_id}#token={alice}")
    expect(page.get_by_role("alert")).to_contain_text("Try later.")
    press(page, "Try again")
    expect(page.locator(".greeting h2")).to_have_text(f"Title of {bot_id}")
    forbid(faults, "503")


def test_a_question_that_the_bot_refuses_comes_back_into_the_box(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str, carol: str, faults: list[str]
) -> None:
    bot_id = make_bot()
    open_bot(page, server, alice, bot_id)
    server.call("PATCH", f"/bot/{bot_id}/visibility", {"targetSharedScope": "private"}, token=carol)
    say(page, "hello")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator("#text")).to_have_value("hello")
    forbid(faults, "403", "404")


# ---- Found ----------------------------------------------------------------------------------------------------------


def test_starred_bots_come_first_then_those_used_last(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str
) -> None:
    used, starred, later = make_bot(title="Used"), make_bot(title="Starred"), make_bot(title="Later")
    for bot_id in (used, later):
        open_bot(page, server, alice, bot_id)
        ask(page, "hello")
    open_bot(page, server, alice, starred)
    press(page, "Star Starred")
    expect(page.get_by_role("button", name="Take the star from Starred")).to_be_focused()
    expect(page.locator("#bots li")).to_have_text(["Starred", "Later", "Used"])
    all_bots(page, meta("p", title="Popular one"))
    expect(page.locator("#found h2")).to_have_text(["Starred", "Used recently", "Popular"])
    expect(page.locator("#found section").nth(1).locator("strong")).to_have_text(["Later", "Used"])
    press(page, "Take the star from Starred")
    expect(page.locator("#bots li")).to_have_text(["Later", "Used"])


def test_the_store_is_searched_as_one_types(page: Page, server: LiveServer, make_bot: MakeBot, alice: str) -> None:
    bot_id = make_bot(title="翻訳ボット")
    enter(page, server, alice)
    all_bots(page, meta("p", title="Popular one"), hits=[meta(bot_id, title="翻訳ボット")])
    expect(page.get_by_role("searchbox", name="Search bots")).to_be_focused()
    expect(page.locator("#found h2")).to_have_text(["Popular"])
    with page.expect_request("**/store/search*") as request:
        page.keyboard.type("翻訳")
    assert request.value.url.endswith("?query=%E7%BF%BB%E8%A8%B3")
    expect(page.locator(".cards strong")).to_have_text(["翻訳ボット"])
    expect(page.locator("#found-count")).to_have_text("1 found.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".greeting h2")).to_have_text("翻訳ボット")
    expect(page.locator("#finder")).to_be_hidden()
    page.go_back()
    expect(page.locator("#finder")).to_be_visible()


def test_without_a_store_ones_own_bots_are_searched(
    page: Page, server: LiveServer, carol: str, make_bot: MakeBot, faults: list[str]
) -> None:
    make_bot(title="Café helper", scope="private")
    enter(page, server, carol)
    page.route("**/store/*", lambda route: route.fulfill(status=404, content_type="application/json", body="{}"))
    page.get_by_role("link", name="All bots").click()
    page.get_by_role("searchbox").fill("HELPER cafe")
    expect(page.locator(".cards strong")).to_have_text(["Café helper"])
    page.get_by_role("searchbox").fill("nothing like it")
    expect(page.get_by_text("No bot is like that.")).to_be_visible()
    forbid(faults, "404")


def test_a_store_that_fails_says_why_and_ones_lists_are_shown(
    page: Page, server: LiveServer, carol: str, make_bot: MakeBot, faults: list[str]
) -> None:
    make_bot(title="Mine")
    enter(page, server, carol)
    page.route(
        "**/store/*",
        lambda route: route.fulfill(status=503, content_type="application/json", body='{"detail":"The store rests."}'),
        times=1,
    )
    page.get_by_role("link", name="All bots").click()
    expect(page.get_by_role("alert")).to_contain_text("The store rests.")
    expect(page.locator("#found h2")).to_contain_text(["Yours"])
    stock(page, [meta("p")])
    press(page, "Try again")
    expect(page.get_by_role("alert")).to_have_count(0)
    forbid(faults, "503")


def test_a_title_that_comes_late_names_nothing_else(page: Page, server: LiveServer, alice: str) -> None:
    waiting: list[Route] = []
    page.route("**/proposed-title", lambda route: waiting.append(route))
    enter(page, server, alice)
    ask(page, "hello")
    page.get_by_role("link", name="All bots").click()
    expect(page.locator("#title")).to_have_text("Bots")
    with page.expect_request("**/conversations"):
        waiting[0].continue_()
    expect(page.locator("#list li")).not_to_have_text(["New chat"])
    expect(page.locator("#title")).to_have_text("Bots")


def test_who_comes_next_sees_no_lists_of_whoever_was_there(
    page: Page, server: LiveServer, make_bot: MakeBot, alice: str
) -> None:
    open_bot(page, server, alice, make_bot(title="Alice's"))
    ask(page, "hello")
    expect(page.locator("#bots li")).to_have_text(["Alice's"])
    press(page, "Forget the token")
    expect(page.locator("#bots li")).to_have_count(0)
    expect(page.locator("#list li")).to_have_count(0)


def test_three_hundred_bots_are_listed_a_few_at_a_time(page: Page, server: LiveServer, alice: str) -> None:
    many = [meta(f"m{number}", title=LONG if number == 5 else f"Bot {number}", owned=True) for number in range(300)]
    page.route("**/bot?kind=private", lambda route: route.fulfill(json=many))
    enter(page, server, alice)
    all_bots(page)
    expect(page.locator(".cards li")).to_have_count(12)
    press(page, "Show all 300")
    expect(page.locator(".cards li")).to_have_count(300)
    expect(page.locator(".cards li").nth(12).get_by_role("link")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_nobody_is_shut_out_from_bots(
    open_page: OpenPage, server: LiveServer, make_bot: MakeBot, alice: str, width: int, scheme: Any
) -> None:
    bot_id = make_bot(title=LONG[:200], description=LONG * 9, conversationQuickStarters=STARTERS)
    page = open_bot(open_page(width, 844, color_scheme=scheme), server, alice, bot_id)
    page.locator(".greeting .star").click()
    expect(page.locator(".greeting .star")).to_have_attribute("aria-pressed", "true")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.get_by_role("button", name="Greet").click()
    page.locator("#send").wait_for()
    assert violations(page) == []
    if width == 390:
        press(page, "Open the list of conversations")
        assert violations(page) == []
    all_bots(page, meta("p"), meta("q", available=False, isStarred=True))
    expect(page.locator("aside")).to_be_visible(visible=width == 1400)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width

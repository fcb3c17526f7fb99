"""In a real browser, an admin reads a conversation, follows feedback to it, and exports; others may not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import MARKS, OpenPage, violations
from tests.console.test_operating_people import action, ask, sign_in, subject_of
from tests.emulator import Emulator
from tests.live import LiveServer

LIST = "/console/conversations/conversation/"
FEEDBACK = "/console/conversations/ratedmessage/"
EXPORTS = "/console/conversations/conversationexport/"
BAD = {"thumbsUp": False, "category": "notHelpful", "comment": "答えが間違っています"}

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with Emulator() as bedrock, LiveServer(tmp_path_factory.mktemp("review"), bedrock.url) as server:
        for role in ("admin", "support", "viewer"):
            shown = server.manage("create_operator", f"an-{role}", "--role", role, "--generate", "--json")
            server.environment[f"PASSWORD_{role}"] = json.loads(shown)["password"]
        token = server.manage("issue_token", "アリス")
        server.environment["ALICE"] = subject_of(token)
        assert ask(server, token)[0] == 200
        status, talk = server.call("GET", "/conversation/c1", token=token)
        assert status == 200
        feedback = f"/conversation/c1/{talk['lastMessageId']}/feedback"
        assert server.call("PUT", feedback, BAD, token=token)[0] == 200
        yield server


def test_an_admin_follows_feedback_reads_and_exports(page: Page, server: LiveServer, tmp_path: Path) -> None:
    sign_in(page, server, "admin")
    page.goto(f"{server.url}{FEEDBACK}")
    expect(page.locator("#result_list")).to_contain_text(BAD["comment"])
    assert violations(page) == []
    page.screenshot(path=tmp_path / "feedback.png", full_page=True)
    page.locator("#result_list").get_by_role("link", name="c1", exact=True).click()
    page.wait_for_load_state()
    assert "こんにちは" not in page.content()
    assert violations(page) == []
    action(page, "Read what was said").click()
    page.wait_for_load_state()
    assert violations(page) == []
    page.select_option("[name=reason]", "quality")
    page.get_by_role("button", name="Read what was said", exact=True).click()
    page.wait_for_load_state()
    expect(page.locator("#content-main")).to_contain_text("こんにちは")
    expect(page.locator("#content-main")).to_contain_text(BAD["comment"])
    assert violations(page) == []
    page.screenshot(path=tmp_path / "content.png", full_page=True)
    page.goto(f"{server.url}/console/bedrock_chat/auditentry/?about=c1&verb=read")
    expect(page.locator("#result_list")).to_contain_text("quality")
    page.goto(f"{server.url}{LIST}?user={server.environment['ALICE']}")
    assert violations(page) == []
    page.get_by_role("link", name="Export", exact=True).click()
    page.wait_for_load_state()
    assert violations(page) == []
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    file = tmp_path / "export.jsonl"
    download.value.save_as(file)
    [line] = [json.loads(line) for line in file.read_text().splitlines()]
    assert line["userId"] == server.environment["ALICE"]
    assert line["messages"][-1]["feedback"] == BAD
    page.goto(f"{server.url}{EXPORTS}")
    expect(page.locator("#result_list")).to_contain_text("done")
    assert violations(page) == []


@pytest.mark.parametrize("role", ["viewer", "support"])
def test_others_see_metadata_alone(page: Page, server: LiveServer, role: str, faults: list[str]) -> None:
    sign_in(page, server, role)
    page.goto(f"{server.url}{LIST}")
    expect(page.locator("#result_list")).to_contain_text("アリス")
    for path in (f"{LIST}1/read/", f"{LIST}1/content/", EXPORTS, f"{EXPORTS}begin/"):
        response = page.goto(f"{server.url}{path}")
        assert response is not None
        assert response.status == 403, path
        assert "こんにちは" not in page.content()
    page.goto(f"{server.url}{FEEDBACK}")
    assert (BAD["comment"] in page.content()) == (role == "support")
    faults[:] = [fault for fault in faults if "403" not in fault]


def test_pages_fit_a_phone_in_the_dark(open_page: OpenPage, server: LiveServer, tmp_path: Path) -> None:
    page = open_page(390, 844, color_scheme="dark")
    sign_in(page, server, "admin")
    page.goto(f"{server.url}{LIST}1/read/")
    page.get_by_role("button", name="Read what was said", exact=True).click()
    page.wait_for_load_state()
    for path in ("", LIST, FEEDBACK, f"{EXPORTS}begin/", EXPORTS):
        if path:
            page.goto(f"{server.url}{path}")
        assert violations(page) == [], path
        assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0, path
        page.screenshot(path=tmp_path / f"narrow{path.replace('/', '-')}.png", full_page=True)

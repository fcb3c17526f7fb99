"""A day of an operator in a real browser: a bot is found, its API's quota changed, a key rotated, and what that does
to real calls; then every other action on bots and keys once.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.bots.bot import payload
from tests.console.conftest import MARKS, OpenPage, violations
from tests.console.operators import PASSWORD
from tests.live import LiveServer
from tests.publication.api import limits, question

pytestmark = MARKS
NOWHERE = "http://127.0.0.1:9"
OPERATORS = """
from bedrock_chat.console import operators
from bedrock_chat.console.roles import Role
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Program
from tests.console.operators import make_operator
for role in Role:
    operators.set_role(make_operator(str(role)), role, actor=Program.command("create_operator"))
local.local_user("bob")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With operators of every role, and Dave's published bot of two versions."""
    with LiveServer(tmp_path_factory.mktemp("walk"), NOWHERE) as server:
        server.manage("shell", "--no-imports", "-c", OPERATORS)
        token = server.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")

        def owner(method: str, path: str, sent: Any) -> None:
            status, answer = server.call(method, path, sent, token=token)
            assert status == 200, answer

        known = {"sourceUrls": [f"https://example.com/{'a' * 200}"], "sitemapUrls": [], "filenames": [], "s3Urls": []}
        owner(
            "POST", "/bot", payload("b1", title="翻訳ボット", instruction="日本語で答えてください。", knowledge=known)
        )
        owner("PATCH", "/bot/b1", {"title": "Translator 翻訳", "instruction": "Answer in Japanese.\n日本語で。"})
        owner("PATCH", "/bot/b1/visibility", {"targetSharedScope": "all"})
        owner("POST", "/bot/b1/publication", limits(quota=5))
        yield server


class Operator:
    """Somebody at the console, whose every page is looked at for violations of accessibility and kept as a picture."""

    def __init__(self, page: Page, server: LiveServer, pictures: Path) -> None:
        self.page, self.server, self.pictures = page, server, pictures

    def sign_in(self, login: str) -> None:
        self.page.goto(f"{self.server.url}/console/")
        self.page.fill("input[name=username]", login)
        self.page.fill("input[name=password]", PASSWORD)
        with self.page.expect_navigation():
            self.page.click("button[type=submit]")

    def look(self, name: str) -> str:
        self.page.wait_for_load_state()
        assert violations(self.page) == [], name
        self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True)
        return self.page.locator("body").inner_text()

    def go(self, path: str) -> None:
        response = self.page.goto(f"{self.server.url}/console/{path}")
        assert response is not None
        assert response.status == 200, path

    def act(self, link: str, **values: str) -> str:
        """Follows an action of the row's page, fills its form in and sends it. Returns what the next page says."""
        with self.page.expect_navigation():
            self.page.locator("nav[aria-label=Actions] a", has_text=link).first.click()
        for name, value in values.items():
            field = self.page.locator(f"[name={name}]")
            if field.evaluate("field => field.tagName") == "SELECT":
                field.select_option(value)
            else:
                field.fill(value)
        self.look(f"{link}-form".replace(" ", "-").lower())
        return self.send(link)

    def send(self, name: str) -> str:
        with self.page.expect_navigation():
            self.page.locator("#content-main form button[type=submit]").click()
        return self.look(f"{name}-sent".replace(" ", "-").lower())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("TEST_PICTURES", tmp_path)) / "walk"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def ask(page: Page, server: LiveServer, key: str) -> int:
    url = f"{server.url}/published/b1/api/conversation"
    return page.request.post(url, data=question(), headers={"x-api-key": key}).status


def test_a_quota_is_changed_a_key_rotated_and_every_other_action_done_once(  # noqa: PLR0915  one walk
    page: Page, server: LiveServer, pictures: Path
) -> None:
    ada = Operator(page, server, pictures)
    ada.sign_in("admin")
    ada.go("bots/bot/")
    page.fill("input[name=q]", "b1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "Translator 翻訳" in ada.look("bots")
    with page.expect_navigation():
        page.locator("#result_list tbody th a").first.click()
    ada.look("bot")

    ada.act("Edit", temperature="0.5")
    ada.act("Restore a version", version="1")
    assert "Version 1 is restored" in ada.send("Restore it")
    assert "pinned at place 3" in ada.act("Pin", order="3")
    assert "no longer pinned" in ada.act("Unpin")

    ada.go("bots/bot/")
    with page.expect_navigation():
        page.get_by_role("link", name="published", exact=True).click()
    ada.look("publication")
    shown = ada.act("Change limits", quota_limit="1")
    assert "These limits would have refused 0 of them" in shown
    assert "The limits are saved" in ada.send("Save these limits")
    publication = page.url

    with page.expect_navigation():
        page.locator(
            "main a[href*='/publication/apikey/'][href$='/change/'], #content a[href$='/change/']"
        ).last.click()
    ada.look("key")
    key_page = page.url
    ada.act("Show the value")
    value = page.locator("#shown-once").input_value()
    assert [ask(page, server, value) for _ in range(2)] == [200, 429]
    page.goto(key_page)
    assert "1 of 1" in ada.look("key-used")
    ada.act("Top up", requests="2")
    assert ask(page, server, value) == 200
    ada.act("Rotate", overlap_hours="2")
    new_value = page.locator("#shown-once").input_value()
    assert len(new_value) == 40
    assert new_value != value
    assert ask(page, server, new_value) == 200
    assert new_value not in page.url
    with page.expect_navigation():
        page.get_by_role("link", name="Done").click()
    assert new_value not in ada.page.content()
    assert "enabled" not in ada.act("Disable")
    assert ask(page, server, value) == 403
    ada.act("Enable")
    ada.act("Revoke")

    ada.go("bedrock_chat/auditentry/")
    audit = ada.look("audit")
    for verb in ("rotate", "top up", "reveal", "change publication", "pin", "revoke"):
        assert verb in audit.lower(), verb

    page.goto(publication)
    assert "is withdrawn" in ada.act("Unpublish")
    assert ask(page, server, new_value) == 403
    ada.go("bots/bot/b1/change/")
    ada.act("Transfer", owner="bob")
    assert "belongs to bob now" in ada.send("Give it to them")
    assert "private now" in ada.act("Unshare")
    for path in ("bedrock_chat/blob/", "bots/botguardrail/", "publication/gate/", "publication/turnrequest/"):
        ada.go(path)
        ada.look(path.strip("/").replace("/", "-"))


@pytest.mark.parametrize("width", [390])
def test_pages_and_forms_fit_a_narrow_dark_screen(
    open_page: OpenPage, server: LiveServer, pictures: Path, width: int
) -> None:
    page = open_page(width, 844, color_scheme="dark")
    ada = Operator(page, server, pictures)
    ada.sign_in("admin")
    for path in (
        "bots/bot/b1/change/",
        "bots/bot/b1/edit/",
        "bots/bot/b1/transfer/",
        "bots/bot/",
        "bedrock_chat/blob/",
    ):
        ada.go(path)
        ada.look(f"narrow-dark-{path.strip('/').replace('/', '-')}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_other_roles_find_no_way_to_what_they_may_not(page: Page, server: LiveServer, pictures: Path) -> None:
    refused = {
        "viewer": ["edit", "restore", "pin", "unpin", "unshare", "transfer", "withdraw"],
        "support": ["edit", "restore", "transfer", "withdraw"],
    }
    for login, names in refused.items():
        context = page.context.browser.new_context()  # type: ignore[union-attr]
        own = context.new_page()
        someone = Operator(own, server, pictures)
        someone.sign_in(login)
        someone.go("bots/bot/b1/change/")
        links = own.locator("nav[aria-label=Actions] a").all_inner_texts()
        assert not {"Edit", "Transfer", "Unpublish"} & {text.split("\n")[-1].strip() for text in links}
        for name in names:
            address = f"{server.url}/console/bots/bot/b1/{name}/"
            assert own.request.get(address).status == 403, (login, name)
            assert own.request.post(address, form={"confirmed": "yes"}).status == 403, (login, name)
        context.close()

"""In a real browser, an operator suspends, prices, tries out, exports and erases, and the API does what they said."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.contrib.admin.utils import quote
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import MARKS, OpenPage, violations
from tests.emulator import Emulator
from tests.forking import client as forking
from tests.live import ROOT, LiveServer

NOVA = "amazon-nova-pro"
ROWS = (
    "from django.utils import timezone; from bedrock_chat.jobs.models import Job; now = timezone.now();"
    "Job.objects.create(kind='sync bot', payload={'bot': 'gone'}, due_at=now, created_at=now, state='dead', attempt=8,"
    " reason='OSError: the disk was full')"
)

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with Emulator() as bedrock, LiveServer(tmp_path_factory.mktemp("people"), bedrock.url) as server:
        for role in ("admin", "viewer"):
            shown = server.manage("create_operator", f"an-{role}", "--role", role, "--generate", "--json")
            server.environment[f"PASSWORD_{role}"] = json.loads(shown)["password"]
        server.manage("shell", "--no-imports", "-c", ROWS)
        yield server


def sign_in(page: Page, server: LiveServer, role: str) -> None:
    page.goto(f"{server.url}/console/")
    page.fill("input[name=username]", f"an-{role}")
    page.fill("input[name=password]", server.environment[f"PASSWORD_{role}"])
    page.click("button[type=submit]")
    page.wait_for_load_state()


def confirm(page: Page, link: str, button: str, **values: str) -> None:
    """From a row's page through an action's page."""
    action(page, link).click()
    page.wait_for_load_state()
    assert violations(page) == [], link
    for name, value in values.items():
        page.fill(f"[name={name}]", value)
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_load_state()


def subject_of(token: str) -> str:
    """The id of the person whose token it is."""
    return str(jwt.decode(token, options={"verify_signature": False})["sub"])


def ask(server: LiveServer, token: str, model: str = NOVA) -> tuple[int, Any]:
    message = {"content": [{"contentType": "text", "body": "こんにちは"}], "model": model}
    return server.call("POST", "/conversation", {"conversationId": "c1", "message": message}, token=token)


@pytest.fixture(scope="module")
def alice(server: LiveServer) -> str:
    """Her token. She has one conversation."""
    token = server.manage("issue_token", "alice")
    assert ask(server, token)[0] == 200
    return token


def person(server: LiveServer, token: str) -> str:
    """The address of somebody's page."""
    return f"{server.url}/console/bedrock_chat/user/{quote(subject_of(token))}/change/"


def test_who_is_suspended_or_has_spent_their_budget_is_refused(page: Page, server: LiveServer, alice: str) -> None:
    sign_in(page, server, "admin")
    page.goto(person(server, alice))
    confirm(page, "Suspend", "Suspend")
    assert ask(server, alice)[0] == 403
    confirm(page, "Restore", "Restore")
    assert ask(server, alice)[0] == 200
    confirm(page, "Set a budget", "Set a budget", amount="0")
    expect(page.locator("body")).to_contain_text("0.00 USD a month, hard")
    page.wait_for_timeout(2500)  # until every process knows that she has one
    assert ask(server, alice)[0] == 429
    confirm(page, "Remove a budget", "Remove a budget")
    assert ask(server, alice)[0] == 200


def test_a_model_is_priced_tried_out_and_disabled(page: Page, server: LiveServer, alice: str) -> None:
    sign_in(page, server, "admin")
    model = f"{server.url}/console/bedrock_chat/modeloverride/{NOVA}/change/"
    page.goto(model)
    confirm(page, "Change", "Save", input_price="0.5")
    expect(page.locator("body")).to_contain_text("an operator")
    [priced] = [line for line in server.manage("prices").splitlines() if line.startswith(f"{NOVA} ")]
    assert "0.5" in priced
    assert "operator's override" in priced
    confirm(page, "Test", "Call it once")
    expect(page.locator("body")).to_contain_text(re.compile(r"It answered in [\d,]+ ms"))
    page.goto(model)
    action(page, "Change").click()
    page.locator("[name=is_enabled]").uncheck()
    page.get_by_role("button", name="Save", exact=True).click()
    page.wait_for_load_state()
    refused = ask(server, alice)
    assert refused[0] == 400
    assert "is not available here" in refused[1]["detail"]
    assert NOVA not in server.call("GET", "/config/global")[1]["globalAvailableModels"]


def test_a_person_becomes_an_operator_and_gets_another_role(page: Page, server: LiveServer) -> None:
    dora = server.manage("issue_token", "dora")
    ask(server, dora)
    sign_in(page, server, "admin")
    page.goto(person(server, dora))
    confirm(page, "Make an operator", "Make an operator", login="dora")
    assert violations(page) == []
    assert len(page.locator("#shown-once").input_value()) == 16
    page.goto(person(server, dora))
    action(page, "Change the role").click()
    assert violations(page) == []
    page.select_option("[name=role]", "support")
    page.get_by_role("button", name="Change the role", exact=True).click()
    page.wait_for_load_state()
    expect(page.locator("body")).to_contain_text("dora has the role support.")


def test_a_dead_job_is_retried(page: Page, server: LiveServer) -> None:
    sign_in(page, server, "admin")
    dead = f"{server.url}/console/bedrock_chat/job/?state__exact=dead"
    page.goto(dead)
    page.locator("#result_list tbody th a").first.click()
    page.wait_for_load_state()
    confirm(page, "Retry", "Begin now")
    page.goto(dead)
    expect(page.locator("body")).not_to_contain_text("the disk was full")


def test_a_person_is_exported_and_erased(page: Page, server: LiveServer, alice: str, tmp_path: Path) -> None:
    sign_in(page, server, "admin")
    page.goto(person(server, alice))
    action(page, "Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download", exact=True).click()
    file = tmp_path / "export.zip"
    download.value.save_as(file)
    with zipfile.ZipFile(file) as archive:
        assert "こんにちは" in archive.read("conversations.jsonl").decode()
    page.goto(person(server, alice))
    confirm(page, "Erase", "Erase for ever", user_id=subject_of(alice))
    page.goto(f"{server.url}/console/bedrock_chat/erasure/")
    expect(page.locator("body")).to_contain_text("waits for a worker")
    command = [sys.executable, "manage.py", "run_worker"]
    quiet = subprocess.DEVNULL
    worker = forking.Popen(command, cwd=ROOT, env=server.environment, stdout=quiet, stderr=quiet)
    try:
        wait_for(page, "done")
    finally:
        worker.terminate()
        worker.wait(20)
    page.locator("#result_list tbody th a").first.click()
    expect(page.locator("body")).to_contain_text("conversations are deleted")
    page.goto(f"{server.url}/console/bedrock_chat/user/?q=alice")
    expect(page.locator("#result_list")).to_have_count(0)


def wait_for(page: Page, words: str) -> None:
    """Until the list says so, which is loaded again and again."""
    for _ in range(80):
        if words in page.locator("#result_list").inner_text():
            return
        page.wait_for_timeout(250)
        page.reload()
    raise AssertionError(words)


def action(page: Page, name: str) -> Locator:
    """The link to an action of the page. Its icon is a word, too."""
    return page.get_by_role("navigation", name="Actions").get_by_role("link", name=re.compile(f"(^| ){name}$"))


def test_a_viewer_sees_all_of_it_and_is_offered_nothing(
    open_page: OpenPage, server: LiveServer, faults: list[str], tmp_path: Path
) -> None:
    bob = server.manage("issue_token", "bob")
    ask(server, bob, "claude-v4.5-sonnet")
    own = [f"user/{quote(subject_of(bob))}/change/", "modeloverride/", f"modeloverride/{NOVA}/change/"]
    others = ["user/", "job/", "budget/", "openalert/", "erasure/"]
    for width, scheme, paths in ((390, "dark", [*own, *others]), (1400, "light", own)):
        page = open_page(width, 900, color_scheme=scheme)
        sign_in(page, server, "viewer")
        for path in paths:
            page.goto(f"{server.url}/console/bedrock_chat/{path}")
            assert violations(page) == [], path
            assert page.get_by_role("navigation", name="Actions").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
            name = path.replace("/", "-") if "user/local" not in path else "person"
            page.screenshot(path=Path(os.environ.get("SCREENSHOTS", tmp_path)) / f"{width}-{name}.png")
    for name in ("suspend", "erase", "export", "set-budget"):
        response = page.goto(f"{server.url}/console/bedrock_chat/user/{quote(subject_of(bob))}/{name}/")
        assert response is not None
        assert response.status == 403
    faults[:] = [fault for fault in faults if "403" not in fault]

"""Getting into the console in a real browser: password, second factor, recovery code, Cognito; and ending sessions."""

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bedrock_chat.console import second_factor
from tests.console.conftest import MARKS, OpenPage, violations
from tests.console.hosted_login import CLIENT, SECRET, HostedLogin
from tests.live import LiveServer
from tests.servers import free_port

pytestmark = MARKS


@pytest.fixture(scope="module")
def hosted() -> Iterator[HostedLogin]:
    with HostedLogin() as login:
        yield login


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, hosted: HostedLogin) -> Iterator[LiveServer]:
    port = free_port()
    settings = {
        "PORT": str(port),
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "CONSOLE_REQUIRE_SECOND_FACTOR": "true",
        "COGNITO_USER_POOL_ID": "pool",
        "COGNITO_CLIENT_ID": "the-frontend",
        "COGNITO_ISSUER": hosted.url,
        "COGNITO_JWKS_URL": f"{hosted.url}/jwks.json",
        "CONSOLE_OIDC_CLIENT_ID": CLIENT,
        "CONSOLE_OIDC_CLIENT_SECRET": SECRET,
        "CONSOLE_OIDC_DOMAIN": hosted.url,
    }
    with LiveServer(tmp_path_factory.mktemp("access"), "http://127.0.0.1:1", **settings) as server:
        yield server


def picture(page: Page, name: str, tmp_path: Path) -> None:
    """A page is looked at by axe, and kept for people where TEST_PICTURES names a folder."""
    assert violations(page) == [], name
    page.screenshot(path=Path(os.environ.get("TEST_PICTURES") or tmp_path) / f"{name}.png", full_page=True)


def give_password(page: Page, server: LiveServer, login: str, password: str) -> None:
    page.goto(f"{server.url}/console/")
    page.fill("input[name=username]", login)
    page.fill("input[name=password]", password)
    page.click("#login-form button[type=submit]")
    page.wait_for_load_state()


def give_code(page: Page, code: str) -> None:
    page.fill("input[name=code]", code)
    page.click("form button[type=submit]")
    page.wait_for_load_state()


def test_an_operator_enrols_comes_back_with_codes_and_ends_a_session(
    open_page: OpenPage, server: LiveServer, browser: Browser, tmp_path: Path
) -> None:
    made = json.loads(server.manage("create_operator", "olga", "--role", "viewer", "--generate", "--json"))
    page = open_page()
    give_password(page, server, "olga", made["password"])
    assert page.url.endswith("/console/second-factor/enrol/")
    picture(page, "enrol", tmp_path)
    assert page.locator("img[alt^=QR]").evaluate("image => image.naturalWidth") > 100
    secret = base64.b32decode(page.locator("#key").inner_text().replace(" ", "")).hex()
    step = int(time.time()) // 30
    give_code(page, second_factor.code_at(secret, step))
    codes = page.locator("#codes code").all_inner_texts()
    assert len(codes) == 10
    picture(page, "recovery-codes", tmp_path)
    page.click("text=I have kept them")
    expect(page).to_have_url(f"{server.url}/console/")

    phone = open_page(390, 844, color_scheme="dark")
    give_password(phone, server, "olga", made["password"])
    assert phone.url.endswith("/console/second-factor/")
    give_code(phone, second_factor.code_at(secret, step))
    expect(phone.get_by_text("This code is not right, or was used before.").first).to_be_visible()
    picture(phone, "second-factor-dark-390", tmp_path)
    give_code(phone, codes[0])
    expect(phone).to_have_url(f"{server.url}/console/")

    phone.goto(f"{server.url}/console/account/")
    picture(phone, "account-dark-390", tmp_path)
    page.goto(f"{server.url}/console/account/")
    expect(page.get_by_text("Recovery codes left: 9.")).to_be_visible()
    expect(page.get_by_text("This one")).to_have_count(1)
    picture(page, "account", tmp_path)
    page.click("li button:has-text('End')")
    expect(page.get_by_text("The session was ended.").first).to_be_visible()
    phone.reload()
    assert "/console/login/" in phone.url

    page.goto(f"{server.url}/console/bedrock_chat/auditentry/")
    for verb in ("create operator", "enrol second factor", "use recovery code", "end session"):
        expect(page.locator("#result_list").get_by_text(verb).first).to_be_visible()
    picture(page, "audit", tmp_path)
    for path in ("bedrock_chat/operatorsession/", "bedrock_chat/secondfactor/", "bedrock_chat/auditentry/export.csv"):
        answer = page.request.get(f"{server.url}/console/{path}")
        assert answer.status == 403, path


def test_an_admin_of_the_pool_comes_by_cognito_and_sees_everybodys_access(
    open_page: OpenPage, server: LiveServer, hosted: HostedLogin, faults: list[str], tmp_path: Path
) -> None:
    page = open_page()
    page.goto(f"{server.url}/console/bedrock_chat/operatorsession/")
    picture(page, "sign-in", tmp_path)
    page.click("text=Sign in with Cognito")
    expect(page).to_have_url(f"{server.url}/console/bedrock_chat/operatorsession/")
    faults[:] = [fault for fault in faults if not fault.startswith(hosted.url)]  # the hosted login itself is elsewhere
    picture(page, "sessions", tmp_path)
    page.goto(f"{server.url}/console/bedrock_chat/secondfactor/")
    picture(page, "second-factors", tmp_path)
    page.goto(f"{server.url}/console/account/")
    expect(page.get_by_text("which keeps your password")).to_be_visible()
    page.goto(f"{server.url}/console/bedrock_chat/auditentry/?verb=create+operator")
    with page.expect_download() as download:
        page.click("text=Export as JSONL")
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert {line["verb"] for line in lines} == {"create operator"}
    assert "sub-alice" in {line["target_id"] for line in lines}

"""The documentation of a published API in a browser, on a wide and on a narrow screen."""

import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.bots.bot import payload
from tests.console.conftest import MARKS, OpenPage
from tests.emulator import Emulator
from tests.live import LiveServer
from tests.publication.api import UNLIMITED

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, emulator_process: Emulator) -> Iterator[LiveServer]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    address = {"PORT": str(port), "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}"}  # which the page calls
    with LiveServer(tmp_path_factory.mktemp("docs"), emulator_process.url, **address) as server:
        yield server


@pytest.fixture(scope="module")
def key(server: LiveServer) -> str:
    """A key of Dave's published bot `helper`."""
    token = server.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")
    for method, path, sent in (
        ("POST", "/bot", payload("helper")),
        ("PATCH", "/bot/helper/visibility", {"targetSharedScope": "all"}),
        ("POST", "/bot/helper/publication", UNLIMITED),
    ):
        status, answer = server.call(method, path, sent, token=token)
        assert status == 200, answer
    return server.manage("create_api_key", "helper", "docs").splitlines()[-1]


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_the_page_shows_every_route_and_tries_one(
    open_page: OpenPage, server: LiveServer, key: str, width: int, height: int
) -> None:
    page = open_page(width, height)
    page.goto(f"{server.url}/published/helper/api/docs")
    expect(page.get_by_role("heading", name="Published API")).to_be_visible()
    expect(page.locator(".opblock")).to_have_count(
        len(server.call("GET", "/published/helper/api/openapi.json")[1]["paths"])
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".modal-ux input").first.fill(key)
    page.locator(".modal-ux").get_by_role("button", name="Apply credentials").first.click()
    page.locator(".modal-ux").get_by_role("button", name="Close").first.click()
    page.locator("#operations-conversation-published_post_conversation .opblock-summary-control").click()
    expect(page.get_by_text("curl -X POST").first).to_be_visible()
    page.locator("#operations-conversation-published_health .opblock-summary-control").click()
    health = page.locator("#operations-conversation-published_health")
    health.get_by_role("button", name="Try it out").click()
    health.get_by_role("button", name="Execute").click()
    expect(health.locator(".live-responses-table .response .response-col_status")).to_contain_text("200")

"""The console in a real browser, wide and narrow, light and dark, in an operator's own colour and with their logo."""

from collections.abc import Iterator
from datetime import date, timedelta
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Page

from tests.console import screenshots
from tests.console.conftest import MARKS, OpenPage, violations
from tests.console.test_console import sign_in
from tests.live import LiveServer

YELLOW = "#ffd400"
"""Nothing can be read in it on white, nor white on it."""
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 30"><rect width="90" height="30" fill="#223"/></svg>'
CUT_OFF = "cells => cells.filter(cell => cell.scrollHeight > cell.clientHeight + 1).map(cell => cell.innerText)"
"""Of cells, the texts of those that do not show all of theirs."""
UNDER_THE_BAR = """lists => lists.map(list => [
    list.querySelector(".simplebar-horizontal"),
    [...list.querySelectorAll("tbody tr")].pop(),
]).filter(([bar, row]) => bar && row && getComputedStyle(bar).visibility === "visible"
    && row.getBoundingClientRect().bottom > bar.getBoundingClientRect().top + 1
).map(([_, row]) => row.innerText)"""
"""Of lists that scroll sideways, the texts of the last rows that their scrollbars lie over."""
PAGES = [
    "/console/",
    "/console/bedrock_chat/modelcall/?days=7",
    "/console/bedrock_chat/modelcall/?fault=NoSuchFault",
    "/console/bedrock_chat/refusal/",
    "/console/bedrock_chat/job/",
    "/console/bots/bot/",
    "/console/publication/publication/",
    "/console/conversations/conversation/",
]

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("looks")
    logo = folder / "logo.svg"
    logo.write_text(LOGO)
    settings = {"REPORT_TIME_ZONE": "Asia/Tokyo", "CONSOLE_COLOR": YELLOW, "CONSOLE_LOGO": str(logo)}
    with LiveServer(folder, screenshots.NOWHERE, DJANGO_SUPERUSER_PASSWORD=screenshots.PASSWORD, **settings) as server:
        server.manage("createsuperuser", "--noinput", "--login", "olga")
        server.manage("shell", "--no-imports", "-c", screenshots.BUSY.replace("fill()", "fill(days=8, a_day=20)"))
        yield server


LOOK = ("width", "height", "scheme")
LOOKS = [(1400, 900, "light"), (1400, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]


@pytest.mark.parametrize(LOOK, LOOKS[:-1])
def test_every_kind_of_page_can_be_read_by_everybody(
    open_page: OpenPage, server: LiveServer, width: int, height: int, scheme: str
) -> None:
    page = open_page(width, height, color_scheme=scheme)
    sign_in(page, server)
    for path in PAGES:
        assert_readable(page, f"{server.url}{path}")
    assert_readable_when_open(page, server)


@pytest.mark.slow
@pytest.mark.parametrize(LOOK, LOOKS[-1:])
def test_every_page_of_the_navigation_and_a_row_of_each_can_be_read_by_everybody(
    open_page: OpenPage, server: LiveServer, width: int, height: int, scheme: str
) -> None:
    page = open_page(width, height, color_scheme=scheme)
    sign_in(page, server)
    links = page.locator("nav a").evaluate_all("links => links.map(link => link.href)")
    lists = {link for link in links if link.startswith(f"{server.url}/console/") and "#" not in link}
    assert len(lists) > 20
    for address in sorted(lists):
        assert_readable(page, address)
        row = page.locator("#result_list tbody a[href*='/change/']")
        if row.count():
            assert_readable(page, urljoin(address, row.first.get_attribute("href")))
    assert_readable_when_open(page, server)


def assert_readable_when_open(page: Page, server: LiveServer) -> None:
    """The same of the home, with all that it folds away."""
    page.goto(f"{server.url}/console/?days=30")
    for summary in page.locator("summary").all():
        summary.click()
    assert violations(page) == []
    assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0


def assert_readable(page: Page, address: str) -> None:
    """Axe finds nothing, the page scrolls in one direction alone, and no request leaves the host (`open_page`)."""
    response = page.goto(address)
    assert response is not None
    assert response.status == 200
    assert violations(page) == [], address
    assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0, address
    assert page.title().strip() != ""
    assert page.locator("#result_list td, #result_list th").evaluate_all(CUT_OFF) == [], address
    assert page.locator("[data-simplebar]").evaluate_all(UNDER_THE_BAR) == [], address


def test_the_keyboard_reaches_the_content_and_the_navigation(open_page: OpenPage, server: LiveServer) -> None:
    page = open_page(390, 844)
    sign_in(page, server)
    page.goto(f"{server.url}/console/bedrock_chat/modelcall/")
    page.keyboard.press("Tab")
    skip = page.locator(".console-skip")
    assert skip.evaluate("link => link === document.activeElement")
    box = skip.bounding_box()
    assert box is not None
    assert box["width"] > 50
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    page.get_by_role("button", name="Open the navigation").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Budgets").wait_for()
    page.get_by_role("button", name="Close the navigation").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Budgets").wait_for(state="hidden")
    page.get_by_role("button", name="Filters").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="30 days").wait_for()


def test_a_figure_is_followed_to_its_rows_and_a_table_is_downloaded(page: Page, server: LiveServer) -> None:
    sign_in(page, server)
    page.get_by_role("link", name="7 days").click()
    errors = page.get_by_role("link", name="Errors of models: ")
    count = int(errors.inner_text())
    errors.click()
    page.wait_for_load_state()
    assert page.locator("#result_list tbody").count() == count > 0
    page.go_back()
    yesterday = date.fromisoformat(page.input_value("input[name=to]")) - timedelta(days=1)  # a day may just have begun
    page.fill("input[name=from]", yesterday.isoformat())
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_load_state()
    assert "from=" in page.url
    with page.expect_download() as download:
        page.get_by_role("link", name="Cost by day and model as CSV").click()
    assert download.value.path().read_text("utf-8-sig").startswith("Day,Cost,")


def test_the_operators_logo_is_shown_before_and_after_the_sign_in(page: Page, server: LiveServer) -> None:
    for path in ("/console/login/", "/console/logo"):
        response = page.goto(f"{server.url}{path}")
        assert response is not None
        assert response.status == 200
    assert response.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in response.headers["content-security-policy"]
    sign_in(page, server)
    assert page.locator("img[src='/console/logo']").first.evaluate("image => image.naturalWidth > 0")

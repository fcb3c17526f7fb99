"""A real browser, whose pages fail their test for any script error, refused resource, or answer from elsewhere."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.live import LiveServer

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
"""The first is Chromium without its own windows and pages, at two thirds of the CPU."""
CHROMIUM = os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
"""The rules of axe. Without the second, it describes each element that keeps them, for most of its time."""
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHROMIUM and not os.environ.get("REQUIRE_SERVICES"), reason="no Chromium here; TEST_CHROMIUM names one"
    ),
]

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def faults() -> list[str]:
    """Errors of the pages of a test. A test that provokes an error removes it from the list."""
    return []


@pytest.fixture
def open_page(browser: Browser, server: LiveServer, faults: list[str]) -> Iterator[OpenPage]:
    """Opens pages of the module's `server`: `open_page(390, 844, color_scheme="dark")`."""
    pages: list[Page] = []

    def make(width: int = 1400, height: int = 900, **options: Any) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("response", lambda answer: faults.append(answer.url) if not _is_ours(answer.url, server) else None)
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.close()
    assert faults == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


def violations(page: Page) -> list[Any]:
    """What the axe rules of WCAG 2.1 AA find on the page: pairs of a rule's name and a number of elements.

    A click returns when the next page has begun. The page is judged once its fonts are there: an icon is a ligature of
    its font, and axe holds it for text of too little contrast without.
    """
    page.wait_for_load_state()
    page.evaluate("() => document.fonts.ready.then(() => null)")
    results = Axe().run(page, options=WCAG)
    return [(violation["id"], len(violation["nodes"])) for violation in results.response["violations"]]


def _is_fault(message: ConsoleMessage) -> bool:
    """Redoc asks its maker's server for a badge, which the page's policy refuses; nothing else is refused."""
    return message.type == "error" and "logo-mini.svg" not in message.text


def _is_ours(url: str, server: LiveServer) -> bool:
    return url.startswith((server.url, "data:", "blob:"))

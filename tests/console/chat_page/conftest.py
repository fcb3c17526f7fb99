"""A server and a model for these tests alone, and the page in a browser, signed in."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.console.chat_page.page import enter
from tests.emulator import Emulator
from tests.live import LiveServer


@pytest.fixture(scope="package")
def bedrock() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, bedrock: Emulator) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("chat"), bedrock.url) as server:
        yield server


@pytest.fixture(scope="package")
def token(server: LiveServer) -> str:
    return server.manage("issue_token", "alice")


@pytest.fixture
def chat(page: Page, server: LiveServer, token: str, bedrock: Emulator) -> Page:
    bedrock.reset()
    return enter(page, server, token)

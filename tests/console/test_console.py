"""The console in a real browser: operators get in, everybody else stays out, and nothing leaks or breaks."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.bots.bot import firecrawl, payload
from tests.console.conftest import MARKS, OpenPage, violations
from tests.emulator import Emulator
from tests.live import LiveServer

PAGES = [
    "",
    "bedrock_chat/user/",
    "bedrock_chat/job/",
    "bedrock_chat/worker/",
    "conversations/conversation/",
    "bots/bot/",
    "publication/publication/",
    "publication/apikey/",
    "publication/turnrequest/",
    "password_change/",
    "bedrock_chat/budget/",
    "bedrock_chat/modelcall/",
    "bedrock_chat/toolcall/",
]
DEAD_JOB = (
    "from django.utils import timezone; from bedrock_chat.jobs.models import Job, Worker; now = timezone.now();"
    "common = {'kind': 'remove blobs', 'due_at': now, 'created_at': now};"
    "Job.objects.create(**common); Job.objects.create(**common, state='running', worker='01ARZ3NDEKTSV4RRFFQ69G5FAV');"
    "Job.objects.create(**common, state='dead', attempt=8, reason='OSError: the disk was full');"
    "Worker.objects.create(id='01ARZ3NDEKTSV4RRFFQ69G5FAV', host='a-host', process=7, concurrency=8, started_at=now,"
    " seen_at=now)"
)
AN_API = {
    "quota": {"limit": 1000, "offset": 0, "period": "DAY"},
    "throttle": {"rateLimit": 10, "burstLimit": 20},
    "allowedOrigins": ["https://app.example.com"],
}
A_QUESTION = (
    "from django.utils import timezone; from publication.models import ApiKey, TurnRequest; key = ApiKey.objects.get();"
    "TurnRequest.objects.create(message_id='m', publication_id=key.publication_id, key_id=key.pk, conversation_id='c',"
    " model='claude-v4.5-sonnet', content=[{'contentType': 'text', 'body': 'a private word'}],"
    " accepted_at=timezone.now(), done_at=timezone.now(), reason='This API was withdrawn.')"
)

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with Emulator() as bedrock, LiveServer(tmp_path_factory.mktemp("console"), bedrock.url) as server:
        server.environment["DJANGO_SUPERUSER_PASSWORD"] = "correct horse battery"
        server.manage("createsuperuser", "--noinput", "--login", "olga")
        server.manage("shell", "--no-imports", "-c", DEAD_JOB)
        token = server.manage("issue_token", "alice")
        message = {"content": [{"contentType": "text", "body": "a private word"}], "model": "claude-v4.5-sonnet"}
        assert server.call("POST", "/conversation", {"conversationId": "c1", "message": message}, token=token)[0] == 200
        maker = server.manage("issue_token", "alice", "--group", "CreatingBotAllowed")
        bot = payload("b1", instruction="Line one.\nLine two.", agent=firecrawl("fc-a-private-word"))
        assert server.call("POST", "/bot", bot, token=maker)[0] == 200
        publisher = server.manage("issue_token", "alice", "--group", "PublishAllowed")
        assert server.call("PATCH", "/bot/b1/visibility", {"targetSharedScope": "all"}, token=publisher)[0] == 200
        assert server.call("POST", "/bot/b1/publication", AN_API, token=publisher)[0] == 200
        server.manage("shell", "--no-imports", "-c", A_QUESTION)
        yield server


def sign_in(page: Page, server: LiveServer, password: str = "correct horse battery") -> None:
    page.goto(f"{server.url}/console/")
    page.fill("input[name=username]", "olga")
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_load_state()


def test_an_operator_reads_users_conversations_and_calls(page: Page, server: LiveServer, tmp_path: Path) -> None:
    assert page.goto(f"{server.url}/console/") is not None
    assert violations(page) == []
    sign_in(page, server)
    for path in PAGES:
        response = page.goto(f"{server.url}/console/{path}")
        assert response is not None
        assert response.status == 200
        assert "private word" not in page.content()
        assert violations(page) == [], path
        page.screenshot(path=pictures(tmp_path) / f"{path.replace('/', '-') or 'index'}.png")
    page.goto(f"{server.url}/console/bedrock_chat/modelcall/")
    assert "Claude" in page.content() or "claude-v4.5-sonnet" in page.content()
    assert page.locator("text=Add model call").count() == 0


def test_what_was_said_is_not_in_a_conversations_page(page: Page, server: LiveServer) -> None:
    sign_in(page, server)
    page.goto(f"{server.url}/console/conversations/conversation/1/change/")
    assert "c1" in page.content()
    assert "private word" not in page.content()
    assert violations(page) == []


def test_a_bots_page_shows_all_but_its_secrets(page: Page, server: LiveServer, tmp_path: Path) -> None:
    sign_in(page, server)
    page.goto(f"{server.url}/console/bots/bot/b1/change/")
    shown = page.locator("#content, main").first.inner_text()
    assert "Line one.\nLine two." in shown
    assert '"search_engine": "firecrawl"' in shown
    assert "private-word" not in page.content()
    assert violations(page) == []
    page.screenshot(path=pictures(tmp_path) / "bot.png", full_page=True)


def test_pages_of_an_api_open_from_their_lists(page: Page, server: LiveServer, tmp_path: Path) -> None:
    sign_in(page, server)
    for name in ("publication", "apikey", "turnrequest"):
        page.goto(f"{server.url}/console/publication/{name}/")
        page.locator("#result_list tbody th a").first.click()
        page.wait_for_load_state()
        assert "/change/" in page.url
        assert "private word" not in page.content()
        assert violations(page) == []
        page.screenshot(path=pictures(tmp_path) / f"{name}.png", full_page=True)


def test_a_wrong_password_and_a_token_stay_outside(page: Page, server: LiveServer) -> None:
    sign_in(page, server, password="wrong")
    assert "/console/login/" in page.url
    token = server.manage("issue_token", "alice", "--group", "Admin")
    page.set_extra_http_headers({"Authorization": f"Bearer {token}"})
    page.goto(f"{server.url}/console/")
    assert "/console/login/" in page.url


def test_a_sign_in_from_nowhere_leads_to_the_index(page: Page, server: LiveServer) -> None:
    page.goto(f"{server.url}/console/login/?next=https://evil.example.com/")
    page.fill("input[name=username]", "olga")
    page.fill("input[name=password]", "correct horse battery")
    page.click("button[type=submit]")
    page.wait_for_load_state()
    assert page.url == f"{server.url}/console/"


def test_a_bad_lookup_is_refused_by_a_page_that_leads_back(
    page: Page, server: LiveServer, tmp_path: Path, faults: list[str]
) -> None:
    sign_in(page, server)
    response = page.goto(f"{server.url}/console/bedrock_chat/user/?password__regex=^p")
    assert response is not None
    assert response.status == 400
    assert page.locator("[role=alert]").inner_text() == "This page takes no parameter 'password__regex'."
    assert violations(page) == []
    page.screenshot(path=pictures(tmp_path) / "refused-lookup.png")
    page.click("text=Back to the console")
    page.wait_for_load_state()
    assert page.url == f"{server.url}/console/bedrock_chat/user/"
    assert page.locator("text=alice").first.is_visible()
    assert_only_the_refusal(faults, "400")


@pytest.mark.parametrize("path", ["/docs", "/docs/redoc"])
def test_the_documentation_shows_from_local_assets(page: Page, server: LiveServer, path: str) -> None:
    page.goto(f"{server.url}{path}")
    page.locator("text=Send a message and get the answer").last.wait_for(timeout=20_000)


def test_who_has_failed_too_often_reads_when_to_come_back(
    open_page: OpenPage, server: LiveServer, tmp_path: Path, faults: list[str]
) -> None:
    """It comes last: for the rest of the minute nobody signs in from here."""
    for options in ({}, {"color_scheme": "dark"}, {"width": 390, "height": 844}):
        page = open_page(**options)
        for _ in range(20):  # a minute may end meanwhile
            sign_in(page, server, password="wrong")
            if page.locator("[role=alert]").count():
                break
        assert "Too many failed sign-ins; try again in" in page.locator("[role=alert]").inner_text()
        assert page.title().strip().startswith("Too Many Requests")
        assert page.locator("input").count() == 0
        assert violations(page) == []
        page.screenshot(path=pictures(tmp_path) / f"too-many-sign-ins-{len(options)}-{options.get('width', '')}.png")
    assert_only_the_refusal(faults, "429")


def pictures(otherwise: Path) -> Path:
    """Where screenshots go."""
    return Path(os.environ.get("SCREENSHOTS", otherwise))


def assert_only_the_refusal(faults: list[str], status: str) -> None:
    """The browser writes the status of a refused page on its console, and nothing else went wrong."""
    assert faults
    assert all(status in fault for fault in faults)
    faults.clear()

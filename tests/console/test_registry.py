"""What apps add to the console: panels, warnings, figures of this moment, and parts of each other's pages."""

from typing import Any

import pytest
from django.contrib import admin
from django.core.checks import run_checks
from django.db import connection
from django.db.models import Count
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from bedrock_chat.console import registry
from bedrock_chat.console.panels import Panel
from bedrock_chat.console.registry import Severity, Trouble
from bedrock_chat.identity.models import User
from conversations.models import Conversation
from tests import build
from tests.console.operators import make_operator

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_panels", "_warnings", "_now", "_extensions"):
        monkeypatch.setattr(registry, name, {})


def request_of(operator: User) -> Any:
    request = RequestFactory().get("/console/")
    request.user = operator
    return request


def test_panels_come_in_their_order_to_those_who_may_see_them() -> None:
    for name, order, permission in (("b", 2, ""), ("a", 2, ""), ("first", 1, "bedrock_chat.view_job")):
        registry.panel(name, order=order, permission=permission)(lambda request, period: Panel("A panel"))
    names = {
        login: [entry.name for entry in registry.panels_for(request_of(make_operator(login, *permissions)))]
        for login, permissions in {"vera": ["view_job"], "otto": []}.items()
    }
    assert names == {"vera": ["first", "a", "b"], "otto": ["a", "b"]}


def test_the_worst_is_told_first_to_those_who_may_know() -> None:
    registry.warning("keys")(lambda request: [Trouble("A key ends", "/k"), Trouble("Another", "/k")])
    registry.warning("jobs", permission="bedrock_chat.view_job")(
        lambda request: [Trouble("A job is dead", "/j", Severity.ERROR)]
    )
    texts = [trouble.text for trouble in registry.troubles_for(request_of(make_operator("vera", "view_job")))]
    assert texts == ["A job is dead", "A key ends", "Another"]
    assert len(registry.troubles_for(request_of(make_operator("otto")))) == 2


@admin.display(description="conversations")
def conversations(row: Any) -> int:
    return int(row.conversations_total)


class TalkativeFilter(admin.SimpleListFilter):
    title = parameter_name = "talkative"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes")]

    def queryset(self, request: Any, rows: Any) -> Any:
        return rows.filter(conversations_total__gt=1) if self.value() == "yes" else rows


@pytest.fixture
def extended(nothing_registered: None) -> None:
    parts: dict[str, Any] = {"columns": [conversations], "filters": [TalkativeFilter]}
    for _ in range(2):
        registry.extend(User, annotate=count_conversations, **parts)
    alice, bob = (User.objects.create(id=name, username=name, password="!") for name in ("alice", "bob"))
    for owner, number in ((alice, 2), (bob, 1)):
        for index in range(number):
            build.conversation(owner, f"{owner.pk}{index}")


def count_conversations(rows: Any) -> Any:
    return rows.annotate(conversations_total=Count("conversation"))


def browser_of(login: str, *permissions: str) -> Client:
    client = Client()
    client.force_login(make_operator(login, *permissions))
    return client


def test_an_app_to_the_right_adds_a_column_and_a_filter_without_a_query_per_row(extended: None) -> None:
    browser = browser_of("vera", "view_user")
    with CaptureQueriesContext(connection) as few:
        page: Any = browser.get("/console/bedrock_chat/user/")
    rows = {row.pk: row.conversations_total for row in page.context["cl"].result_list if not row.is_staff}
    assert rows == {"alice": 2, "bob": 1}
    assert page.content.decode().count("column-conversations") == 1
    for number in range(20):
        User.objects.create(id=f"u{number}", username=f"u{number}", password="!")
    with CaptureQueriesContext(connection) as many:
        browser.get("/console/bedrock_chat/user/")
    assert len(many) == len(few)
    page = browser.get("/console/bedrock_chat/user/?talkative=yes")
    assert [row.pk for row in page.context["cl"].result_list] == ["alice"]
    assert browser.get("/console/conversations/conversation/?talkative=yes").status_code in (400, 403)


def test_an_added_column_is_checked_for_private_texts(nothing_registered: None) -> None:
    @admin.display(description="instruction", ordering="instruction")
    def instruction(row: Any) -> str:
        return str(row.instruction)

    registry.extend(Conversation, columns=[instruction])
    faults = [message.msg for message in run_checks() if message.id == "bedrock_chat.E102"]
    assert faults == [
        "conversations.ConversationAdmin uses a private column in list_display, readonly_fields: instruction."
    ]

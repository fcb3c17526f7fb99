"""The navigation: pages in groups, in plain words, as far as an operator may see them."""

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory

from bedrock_chat.console import navigation
from bedrock_chat.console.navigation import Group
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.ledger.rollups.models import LateEnd
from tests.console.operators import make_operator, make_viewer

pytestmark = pytest.mark.django_db


def sidebar(client: Client, path: str = "/console/") -> dict[str, list[str]]:
    """Group → titles, as the page shows them. A title that is marked as the current one begins with `*`."""
    page: Any = client.get(path)
    return {
        str(group["title"]): [f"{'*' * item['active']}{item['title']}" for item in group["items"]]
        for group in page.context["sidebar_navigation"]
    }


def client_of(*permissions: str) -> Client:
    client = Client()
    client.force_login(make_operator("otto", *permissions) if permissions else make_viewer())
    return client


def test_groups_come_in_their_order_with_plain_words() -> None:
    groups = sidebar(client_of(), "/console/bedrock_chat/modelcall/?days=7")
    assert list(groups) == [group.value for group in Group]
    assert groups["Money"] == ["Budgets", "*Calls to models"]
    assert "Questions of APIs" in groups["APIs"]


def test_a_page_that_may_not_be_seen_is_in_no_group() -> None:
    assert sidebar(client_of("view_job")) == {"Overview": ["*Dashboard"], "Operations": ["Jobs"]}


def test_a_model_that_is_registered_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes are made once, before the tests, so the new page takes the address of another."""
    monkeypatch.setattr(navigation, "reverse", lambda name: f"/{name}/")
    request: Any = RequestFactory().get("/console/")
    request.user = make_viewer()
    page = ReadOnlyAdmin(LateEnd, admin.site)

    def groups() -> dict[str, list[str]]:
        shown = navigation.sidebar(request, [page])
        return {group["title"]: [item["title"] for item in group["items"]] for group in shown}

    assert groups()["Operations"] == ["Late ends"]
    page.group, page.plain_name = Group.MONEY, "Calls that ended late"
    assert groups()["Money"] == ["Calls that ended late"]
    page.is_in_navigation = False
    assert "Money" not in groups()


def test_times_name_their_zone(settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "Asia/Tokyo"
    page = client_of().get("/console/bedrock_chat/user/").content.decode()
    assert " JST" in page
    assert "Times: Asia/Tokyo" in page


def test_an_empty_list_says_what_to_do() -> None:
    client = client_of()
    assert "Ask something in the chat" in client.get("/console/bedrock_chat/modelcall/").content.decode()
    assert "Nothing matches" in client.get("/console/bedrock_chat/modelcall/?fault=any").content.decode()

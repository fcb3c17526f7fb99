"""Actions that are confirmed: a page with a form first, then the write, and both for those alone who may."""

import html
import re
from collections.abc import Mapping
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib import admin
from django.test import Client
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console.confirming import MOST_AT_ONCE
from bots.models import Bot, Scope
from tests.bots.bot import make, share
from tests.console.operators import make_operator
from tests.encryption.vault import new_key

pytestmark = pytest.mark.django_db
LIST = "/console/bots/bot/"
PIN = f"{LIST}b1/pin/"


@pytest.fixture(autouse=True)
def _quick(settings: LazySettings) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]


@pytest.fixture(autouse=True)
def bots(client_of: Any) -> APIClient:
    """Alice's `b1`, which everybody may use, and her private `b2`."""
    alice: APIClient = client_of("alice", "CreatingBotAllowed")
    for bot_id in ("b1", "b2"):
        make(alice, bot_id)
    share(alice, "b1", "all")
    return alice


def operator(*permissions: str, login: str = "olga") -> Client:
    client = Client()
    client.force_login(make_operator(login, *permissions))
    return client


@pytest.fixture
def olga() -> Client:
    """She sees bots and pins and unshares them."""
    return operator("view_bot", "pin_bot", "unshare_bot")


def post(client: Client, path: str, values: Mapping[str, Any]) -> Any:
    return client.post(path, {"confirmed": "yes", **values})


def alert(response: Any) -> str:
    [sentence] = re.findall(r'role="alert"[^>]*>(.*?)</p>', response.content.decode(), re.DOTALL)
    return html.unescape(sentence).strip()


def test_the_first_step_shows_the_form_and_what_will_happen_and_changes_nothing(olga: Client) -> None:
    response = olga.get(PIN)
    assert response.status_code == 200
    shown = response.content.decode()
    assert "its owner can neither delete it nor share it with fewer people" in shown
    assert 'name="order"' in shown
    assert "csrfmiddlewaretoken" in shown
    assert "no-store" in response["Cache-Control"]
    assert Bot.objects.get(pk="b1").pinned_order is None
    assert not AuditEntry.objects.filter(verb="pin").exists()


def test_the_second_step_writes_as_the_operator_and_says_what_was_done(olga: Client) -> None:
    response = post(olga, PIN, {"order": "7"})
    assert response.status_code == 302
    assert response["Location"] == f"{LIST}b1/change/"
    assert Bot.objects.get(pk="b1").pinned_order == 7
    entry = AuditEntry.objects.get(verb="pin")
    assert (entry.actor_kind, entry.target_id, entry.values) == (
        "operator",
        "b1",
        {"order": {"before": None, "after": 7}},
    )
    assert "pinned at place 7" in olga.get(response["Location"]).content.decode()


def test_a_form_that_is_wrong_is_shown_again_and_nothing_is_written(olga: Client) -> None:
    for order in ("", "many", "1000", "-1"):
        response = post(olga, PIN, {"order": order})
        assert response.status_code == 400
        assert 'name="order"' in response.content.decode()
    assert Bot.objects.get(pk="b1").pinned_order is None


def test_what_the_domain_refuses_is_said_on_the_form(olga: Client) -> None:
    response = post(olga, f"{LIST}b2/pin/", {"order": "1"})
    assert response.status_code == 400
    assert "not shared with everybody" in alert(response)


def test_both_steps_are_refused_to_whoever_lacks_the_permission(olga: Client) -> None:
    for client in (operator("view_bot", login="vera"), operator("pin_bot", login="udo")):
        assert client.get(PIN).status_code == 403
        assert post(client, PIN, {"order": "1"}).status_code == 403
    assert Client().get(PIN).status_code == 302  # to the sign-in
    assert Bot.objects.get(pk="b1").pinned_order is None


def test_a_forged_form_is_refused(bots: APIClient) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_operator("olga", "view_bot", "pin_bot"))
    assert post(client, PIN, {"order": "1"}).status_code == 403
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(PIN).content.decode())[-1]
    assert post(client, PIN, {"order": "1", "csrfmiddlewaretoken": token}).status_code == 302


def test_a_row_that_is_not_there_is_not_found(olga: Client) -> None:
    assert olga.get(f"{LIST}nobody/pin/").status_code == 404
    assert olga.get(f"{PIN}?order=3").status_code == 400


def test_a_rows_page_leads_to_the_actions_that_fit_it_and_that_the_operator_may_do(olga: Client) -> None:
    def offered(client: Client, bot_id: str) -> list[str]:
        page = client.get(f"{LIST}{bot_id}/change/").content.decode()
        names = re.findall(rf'href="{LIST}{bot_id}/([a-z-]+)/"', page)
        return [name for name in names if name != "change"]  # the page itself

    assert offered(olga, "b1") == ["pin", "unshare"]
    assert offered(olga, "b2") == []
    Bot.objects.filter(pk="b1").update(pinned_order=1)
    assert offered(olga, "b1") == ["pin", "unpin", "unshare"]
    assert offered(operator("view_bot", login="vera"), "b1") == []


def test_several_rows_are_confirmed_together_and_one_that_refuses_stops_no_other(olga: Client, bots: APIClient) -> None:
    make(bots, "b3")
    share(bots, "b3", "all")
    Bot.objects.filter(pk="b1").update(pinned_order=1)
    wanted = {"action": "unshare", "_selected_action": ["b1", "b3"]}
    page = olga.post(LIST, wanted)
    assert page.status_code == 200
    assert "Its owner alone may use it." in page.content.decode()
    assert not Bot.objects.filter(pk="b3", scope=Scope.PRIVATE).exists()
    done = olga.post(LIST, {**wanted, "confirmed": "yes"}, follow=True).content.decode()
    assert "1 of 2 done" in done
    assert "An administrator has pinned this bot" in done
    assert dict(Bot.objects.values_list("pk", "scope")) == {"b1": "all", "b2": "private", "b3": "private"}


def test_what_a_page_adds_to_its_rows_is_looked_up_once_for_all_that_are_confirmed(
    olga: Client, bots: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed: list[int] = []
    page = admin.site._registry[Bot]
    monkeypatch.setattr(page, "complete_page", lambda request, rows: completed.append(len(rows)))
    olga.post(LIST, {"action": "unshare", "_selected_action": ["b1", "b2"], "confirmed": "yes"})
    assert completed[-1] == 2
    assert 1 not in completed


def test_an_action_on_several_rows_is_for_those_who_may_and_for_no_more_than_are_bounded(
    olga: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"action": "unshare", "_selected_action": ["b1", "b2"], "confirmed": "yes"}
    vera = operator("view_bot", login="vera")
    assert vera.post(LIST, wanted).status_code in (200, 302, 403)
    assert Bot.objects.get(pk="b1").scope == Scope.ALL
    assert MOST_AT_ONCE <= 100
    monkeypatch.setattr("bedrock_chat.console.confirming.MOST_AT_ONCE", 1)
    assert olga.post(LIST, wanted).status_code == 400
    assert Bot.objects.get(pk="b1").scope == Scope.ALL

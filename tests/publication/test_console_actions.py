"""What operators do with APIs and keys in the console, and whom the pages let do it."""

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console import operators
from bedrock_chat.console.roles import Role
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Program
from bedrock_chat.ledger.models import ModelCall
from bots.models import Bot
from conversations.models import Conversation
from publication import lifecycle
from publication import limits as of_requests
from publication.models import ApiKey, Gate, Period, Publication, PublicationOwner
from tests.bots.bot import body, make, share
from tests.console.operators import make_operator
from tests.publication.api import Api, limits, publish, question, work

pytestmark = pytest.mark.django_db
PUBLICATIONS, KEYS = "/console/publication/publication/", "/console/publication/apikey/"


def browser_of(role: Role) -> Client:
    operator = make_operator(str(role))
    operators.set_role(operator, role, actor=Program.command("create_operator"))
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def boss() -> Client:
    """An operator of the role admin."""
    return browser_of(Role.ADMIN)


@pytest.fixture
def limited(dave: APIClient, emulator: Any) -> Api:
    """Dave's `limited`, two questions a day for each key."""
    make(dave, "limited")
    share(dave, "limited", "all")
    return publish(dave, "limited", limits(quota=2))


def page_of_api() -> str:
    return f"{PUBLICATIONS}{Publication.objects.get().pk}/"


def page_of_key() -> str:
    return f"{KEYS}{ApiKey.objects.earliest('created_at').pk}/"


def post(client: Client, path: str, **values: Any) -> Any:
    return client.post(path, {"confirmed": "yes", **values})


def value_shown(response: Any) -> str:
    values = re.findall(r'id="shown-once"[^>]* value="([^"]*)"', response.content.decode())
    return html.unescape(values[0]) if values else ""


def unlimited() -> dict[str, str]:
    """What the form of the API's limits sends when all of them are emptied."""
    base = lifecycle.limits_revision(Publication.objects.get())
    return {
        "base": base,
        **dict.fromkeys(("quota_limit", "quota_period", "rate_limit", "burst_limit"), ""),
        "limits_scope": "key",
    }


# ---- Limits ---------------------------------------------------------------------------------------------------------


def test_new_limits_are_tried_on_last_months_questions_before_they_are_saved(limited: Api, boss: Client) -> None:
    limited.ask()
    limited.ask()
    path = f"{page_of_api()}limits/"
    values = {**unlimited(), "quota_limit": "1", "quota_period": "DAY"}
    shown = boss.post(path, values).content.decode()
    assert "2 questions were asked" in shown
    assert "would have refused 1 of them" in shown
    assert Publication.objects.get().quota_limit == 2
    assert post(boss, path, **values).status_code == 302
    assert Publication.objects.get().quota_limit == 1
    entry = AuditEntry.objects.get(verb="change publication")
    assert (entry.actor_kind, entry.values) == ("operator", {"quota_limit": {"before": 2, "after": 1}})


def test_limits_that_are_not_those_of_the_preview_any_more_are_refused(limited: Api, boss: Client) -> None:
    path = f"{page_of_api()}limits/"
    values = {**unlimited(), "quota_limit": "9", "quota_period": "DAY"}
    assert f'name="base" value="{values["base"]}"' in boss.post(path, values).content.decode()
    Publication.objects.update(quota_limit=5)  # by somebody else
    refused = post(boss, path, **values)
    assert refused.status_code == 409
    assert "changed meanwhile" in refused.content.decode()
    assert Publication.objects.get().quota_limit == 5


def test_a_simulation_is_bounded_and_says_so(limited: Api, boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    limited.ask()
    limited.ask()
    monkeypatch.setattr("publication.admin.limits.MOST_TRIED", 1)
    shown = boss.post(f"{page_of_api()}limits/", unlimited()).content.decode()
    assert "1 questions were asked" in shown
    assert "the first 1 questions alone" in shown


@pytest.mark.parametrize(
    "values",
    [{"quota_limit": "5"}, {"rate_limit": "2"}, {"rate_limit": "0.00001", "burst_limit": "1"}, {"quota_limit": "0"}],
)
def test_limits_that_the_api_refuses_are_refused(limited: Api, boss: Client, values: dict[str, str]) -> None:
    for step in ({}, {"confirmed": "yes"}):
        assert boss.post(f"{page_of_api()}limits/", {**unlimited(), **values, **step}).status_code == 400
    assert Publication.objects.get().quota_limit == 2


def test_a_larger_quota_lets_the_next_question_pass(limited: Api, boss: Client) -> None:
    limited.ask()
    limited.ask()
    assert limited.post(question()).status_code == 429
    post(boss, f"{page_of_api()}limits/", **{**unlimited(), "quota_limit": "3", "quota_period": "DAY"})
    assert limited.post(question()).status_code == 200


# ---- Keys -----------------------------------------------------------------------------------------------------------


def test_a_key_is_rotated_with_an_overlap_and_its_value_shown_once(limited: Api, boss: Client) -> None:
    response = post(boss, f"{page_of_key()}rotate/", overlap_hours="1")
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    value = value_shown(response)
    new = ApiKey.objects.latest("created_at")
    assert len(value) == 40
    assert limited.post(question(), key=value).status_code == 200
    assert limited.post(question()).status_code == 200
    old = ApiKey.objects.earliest("created_at")
    assert (old.replaced_by, new.lineage) == (new.pk, old.lineage)
    for path in (f"{KEYS}{new.pk}/change/", KEYS, page_of_api() + "change/", "/console/bedrock_chat/auditentry/"):
        assert value not in boss.get(path).content.decode()
    entry = AuditEntry.objects.get(verb="rotate", target_kind="api key")
    assert (entry.actor_kind, entry.target_id, entry.values) == ("operator", old.pk, {"overlap_hours": 1.0})
    again = post(boss, f"{page_of_key()}rotate/", overlap_hours="1")
    assert again.status_code == 409
    assert ApiKey.objects.count() == 2


def test_support_rotates_and_sees_the_value_only_where_nobody_else_ever_could(
    limited: Api, settings: LazySettings
) -> None:
    support = browser_of(Role.SUPPORT)
    assert value_shown(post(support, f"{page_of_key()}rotate/", overlap_hours="1")) == ""
    settings.API_KEY_REVEAL = "once"
    new = ApiKey.objects.latest("created_at")
    assert len(value_shown(post(support, f"{KEYS}{new.pk}/rotate/", overlap_hours="0"))) == 40


def test_a_value_is_shown_after_a_confirmation_alone_and_each_look_is_recorded(limited: Api, boss: Client) -> None:
    path = f"{page_of_key()}reveal/"
    assert limited.key not in boss.get(path).content.decode()
    assert not AuditEntry.objects.filter(verb="reveal").exists()
    response = post(boss, path)
    assert value_shown(response) == limited.key
    assert "no-store" in response["Cache-Control"]
    entry = AuditEntry.objects.get(verb="reveal")
    assert (entry.target_id, entry.actor_kind, entry.values) == (ApiKey.objects.get().pk, "operator", {})


def test_a_key_without_a_copy_has_no_value_to_show(dave: APIClient, boss: Client, settings: LazySettings) -> None:
    make(dave, "b")
    share(dave, "b", "all")
    settings.API_KEY_REVEAL = "once"
    dave.post("/bot/b/publication", limits(), format="json")
    response = post(boss, f"{page_of_key()}reveal/")
    assert value_shown(response) == ""
    assert "No copy of this key" in response.content.decode()


def test_a_key_is_disabled_enabled_and_revoked(limited: Api, boss: Client) -> None:
    path = page_of_key()
    assert post(boss, f"{path}disable/").status_code == 302
    assert limited.post(question()).status_code == 403
    assert post(boss, f"{path}enable/").status_code == 302
    assert limited.post(question()).status_code == 200
    response = post(boss, f"{path}revoke/")
    assert response["Location"] == KEYS  # its own page is gone
    assert limited.post(question()).status_code == 403
    verbs = AuditEntry.objects.filter(target_kind="api key", actor_kind="operator").order_by("pk")
    assert list(verbs.values_list("verb", flat=True)) == ["change", "change", "revoke"]


def test_several_keys_are_disabled_at_once(limited: Api, dave: APIClient, boss: Client) -> None:
    body(dave.post("/bot/limited/publication/api-key", {"description": "second"}, format="json"))
    wanted = {"action": "disable", "_selected_action": [key.pk for key in ApiKey.objects.all()]}
    assert boss.post(KEYS, wanted).status_code == 200
    assert ApiKey.objects.filter(is_enabled=True).count() == 2
    boss.post(KEYS, {**wanted, "confirmed": "yes"})
    assert ApiKey.objects.filter(is_enabled=True).count() == 0


def test_a_top_up_adds_to_this_period_alone(limited: Api, boss: Client) -> None:
    limited.ask()
    limited.ask()
    assert limited.post(question()).status_code == 429
    assert post(boss, f"{page_of_key()}top-up/", requests="1").status_code == 302
    shown = boss.get(KEYS).content.decode()
    assert "2 of 3" in shown
    assert limited.post(question()).status_code == 200
    assert limited.post(question()).status_code == 429
    entry = AuditEntry.objects.get(verb="top up")
    assert (entry.actor_kind, entry.values) == ("operator", {"requests": 1})


def test_use_is_that_of_the_present_period_and_of_the_account_that_counts(
    limited: Api, dave: APIClient, boss: Client
) -> None:
    limited.ask()
    assert "1 of 2" in boss.get(KEYS).content.decode()
    assert "1 of 2" in boss.get(PUBLICATIONS).content.decode()
    label = of_requests.label_of(Period.DAY, timezone.now() - timedelta(days=1))
    Gate.objects.update(period=label)
    assert "0 of 2" in boss.get(KEYS).content.decode()
    assert dave.patch("/bot/limited/publication", {"limitsScope": "publication"}, format="json").status_code == 200
    limited.ask()
    assert "1 of 2" in boss.get(PUBLICATIONS).content.decode()
    assert "by all keys" in boss.get(KEYS).content.decode()


# ---- The end of an API, and its transfer ----------------------------------------------------------------------------


@pytest.mark.parametrize("from_bot", [True, False])
def test_an_api_is_ended_from_its_own_page_and_from_its_bots(limited: Api, boss: Client, from_bot: bool) -> None:
    path = "/console/bots/bot/limited/withdraw/" if from_bot else f"{page_of_api()}withdraw/"
    assert "Its keys are deleted" in boss.get(path).content.decode()
    assert post(boss, path).status_code == 302
    assert limited.post(question()).status_code == 403
    assert Bot.objects.get().published_at is None
    assert AuditEntry.objects.get(verb="withdraw").actor_kind == "operator"


@pytest.mark.django_db(transaction=True)
def test_a_transfer_takes_the_api_and_its_keys_along_but_no_value_of_a_key(
    limited: Api, client_of: Any, dave: APIClient, boss: Client
) -> None:
    conversation, message = limited.ask()
    work()
    assert limited.answer(conversation, message).status_code == 200
    erin, former = client_of("erin", "PublishAllowed"), local.local_user("dave")
    owner = local.local_user("erin")
    assert post(boss, "/console/bots/bot/limited/transfer/", owner="erin").status_code == 302
    assert dave.get("/bot/limited/publication").status_code == 403
    [key_id] = body(erin.get("/bot/limited/publication"))["apiKeyIds"]
    assert body(erin.get(f"/bot/limited/publication/api-key/{key_id}"))["value"] == ""
    assert PublicationOwner.objects.get().user_id == owner.pk
    assert Conversation.objects.count() == 1
    limited.ask()  # the old value opens it still
    work()
    payers = list(ModelCall.objects.order_by("pk").values_list("payer_id", flat=True))
    assert payers[0] == former.pk
    assert payers[-1] == owner.pk
    assert body(erin.post(f"/bot/limited/publication/api-key/{key_id}/rotate", {}, format="json"))["value"]


# ---- Who may ---------------------------------------------------------------------------------------------------------

SUPPORT_AND_ADMIN = {Role.SUPPORT, Role.ADMIN}
MAY = {
    "limits": SUPPORT_AND_ADMIN,
    "withdraw": {Role.ADMIN},
    "rotate": SUPPORT_AND_ADMIN,
    "disable": SUPPORT_AND_ADMIN,
    "enable": SUPPORT_AND_ADMIN,
    "top-up": SUPPORT_AND_ADMIN,
    "reveal": {Role.ADMIN},
    "revoke": {Role.ADMIN},
}


@pytest.mark.parametrize("role", list(Role))
def test_each_role_does_what_it_may_and_is_refused_the_rest_by_address_too(limited: Api, role: Role) -> None:
    client = browser_of(role)
    of_api, of_key = page_of_api(), page_of_key()
    for name, roles in MAY.items():
        path = f"{of_api if name in ('limits', 'withdraw') else of_key}{name}/"
        expected = 200 if role in roles else 403
        assert client.get(path).status_code == expected, name
        if expected == 403:
            assert post(client, path, **unlimited(), requests="1", overlap_hours="1").status_code == 403
    assert client.get("/console/bots/bot/limited/withdraw/").status_code == (200 if role == Role.ADMIN else 403)
    assert limited.post(question()).status_code == 200
    assert ApiKey.objects.count() == 1

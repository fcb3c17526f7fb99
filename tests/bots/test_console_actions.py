"""What operators do with bots in the console: edit, restore, transfer, and whom the pages let do it."""

import html
import re
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console import operators
from bedrock_chat.console.roles import Role
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.retention import holds
from bots.holds import hold_bot, release_bot
from bots.models import Bot, BotAlias, BotVersion
from tests.bots.bot import PARAMETERS, THRESHOLDS, edit, firecrawl, make, read, share, use
from tests.console.operators import make_operator

pytestmark = pytest.mark.django_db
LIST = "/console/bots/bot/"


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


def form_of(client: Client, path: str) -> dict[str, Any]:
    """What a browser would send back of a form that nobody has touched."""
    form = client.get(path).context["form"]
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value is not None and value is not False}


def post(client: Client, path: str, values: dict[str, Any]) -> Any:
    return client.post(path, {"confirmed": "yes", **values})


def alerts(response: Any) -> list[str]:
    shown = response.content.decode()
    return [html.unescape(text).strip() for text in re.findall(r'role="alert"[^>]*>(.*?)</p>', shown, re.DOTALL)]


# ---- Editing --------------------------------------------------------------------------------------------------------


def test_a_form_that_nobody_touched_changes_nothing(alice: APIClient, boss: Client) -> None:
    make(alice, "plain")
    make(
        alice,
        "b",
        generationParams=PARAMETERS,
        agent=firecrawl("fc-key"),
        activeModels={"claudeV35Sonnet": False},
        bedrockGuardrails={**THRESHOLDS, "isGuardrailEnabled": True, "hateThreshold": 2, "guardrailArn": "",
                           "guardrailVersion": ""},
        description="Zeile eins\nZeile zwei",
        instruction="  日本語で答える。\n\nBitte.  ",
    )  # fmt: skip
    for bot_id in ("plain", "b"):
        before = read(alice, bot_id)
        path = f"{LIST}{bot_id}/edit/"
        response = post(boss, path, form_of(boss, path))
        assert response.status_code == 302, alerts(response)
        assert read(alice, bot_id) == before
    assert BotVersion.objects.count() == 2


def test_an_edit_is_a_version_by_the_operator_with_an_entry_of_the_audit(alice: APIClient, boss: Client) -> None:
    make(alice, "b", generationParams=PARAMETERS, agent=firecrawl("fc-key"))
    values = form_of(boss, f"{LIST}b/edit/")
    values |= {
        "title": "Übersetzer",
        "temperature": "0.25",
        "stop_sequences": "ENDE\nHALT\n",
        "tool_0_results": "9",
        "added_tool": "bedrock_agent",
        "is_guardrail_enabled": "on",
        "violence_threshold": "3",
        "models": [name for name in values["models"] if name != "claudeV35Sonnet"],
    }
    assert post(boss, f"{LIST}b/edit/", values).status_code == 302
    after = read(alice, "b")
    assert after["title"] == "Übersetzer"
    assert after["generationParams"]["temperature"] == 0.25
    assert after["generationParams"]["stopSequences"] == ["ENDE", "HALT"]
    search, agent = after["agent"]["tools"]
    assert search["firecrawlConfig"] == {"apiKey": "********", "maxResults": 9}
    assert agent["name"] == "bedrock_agent"
    assert after["bedrockGuardrails"]["violenceThreshold"] == 3
    assert after["activeModels"]["claudeV35Sonnet"] is False
    operator = User.objects.get(login="admin")
    assert BotVersion.objects.get(number=2).author_id == operator.pk
    entry = AuditEntry.objects.get(verb="edit")
    assert (entry.actor_kind, entry.actor_id) == ("operator", operator.pk)
    assert {"title", "generation_params", "tools", "bedrock_guardrails", "inactive_models"} <= set(entry.fields)


def test_a_tools_key_is_replaced_and_taken_away_and_never_shown(alice: APIClient, boss: Client) -> None:
    make(alice, "b", agent=firecrawl("fc-secret"))
    path = f"{LIST}b/edit/"
    assert "fc-secret" not in boss.get(path).content.decode()
    before = Bot.objects.get().encrypted_secrets
    refused = post(boss, path, {**form_of(boss, path), "tool_0_key": "fc-another", "title": ""})
    assert "fc-another" not in refused.content.decode()  # a form that is shown again shows no key either
    assert post(boss, path, {**form_of(boss, path), "tool_0_key": "fc-another"}).status_code == 302
    assert Bot.objects.get().encrypted_secrets != before
    values = form_of(boss, path)
    del values["tool_0_kept"]
    assert post(boss, path, values).status_code == 302
    assert Bot.objects.get().encrypted_secrets == ""
    assert read(alice, "b")["agent"]["tools"] == []


def test_what_the_api_refuses_the_form_refuses(alice: APIClient, boss: Client) -> None:
    make(alice, "b")
    path = f"{LIST}b/edit/"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"has_parameters": "on", "temperature": "99"}, "generationParams.temperature"),
        ({"models": []}, "activeModels: a bot needs a model"),
        ({"guardrail_arn": "not an arn!", "is_guardrail_enabled": "on"}, "bedrockGuardrails.guardrailArn"),
    ]
    for values, sentence in cases:
        response = post(boss, path, {**form_of(boss, path), **values})
        assert response.status_code == 400
        assert any(text.startswith(sentence) for text in alerts(response)), alerts(response)
    assert Bot.objects.get().version == 1


def test_an_edit_of_a_form_that_is_out_of_date_is_refused(alice: APIClient, boss: Client) -> None:
    make(alice, "b")
    values = form_of(boss, f"{LIST}b/edit/")
    edit(alice, "b", title="Alice was faster")
    response = post(boss, f"{LIST}b/edit/", {**values, "title": "Mine"})
    assert response.status_code == 409
    assert "changed meanwhile" in alerts(response)[0]
    assert Bot.objects.get().title == "Alice was faster"


# ---- Restoring ------------------------------------------------------------------------------------------------------


def test_a_version_is_restored_after_its_difference_was_shown(alice: APIClient, boss: Client) -> None:
    make(alice, "b", instruction="One\nTwo\nThree")
    edit(alice, "b", instruction="One\n二\nThree", title="<b>Second</b>")
    path = f"{LIST}b/restore/"
    values = {"version": "1", "base_version": "2"}
    shown = boss.post(path, values).content.decode()
    assert 'name="base_version" value="2"' in shown
    assert "-二" in shown
    assert "+Two" in shown
    assert "-&lt;b&gt;Second&lt;/b&gt;" in shown
    assert Bot.objects.get().version == 2
    assert post(boss, path, values).status_code == 302
    assert (Bot.objects.get().version, Bot.objects.get().instruction) == (3, "One\nTwo\nThree")
    assert AuditEntry.objects.get(verb="restore").values == {"version": 1}
    assert post(boss, path, {"version": "99", "base_version": "3"}).status_code == 400
    refused = post(boss, path, {"version": "2", "base_version": "2"})  # as the bot was before the restoring
    assert refused.status_code == 409
    assert "changed meanwhile" in alerts(refused)[0]
    assert Bot.objects.get().version == 3


# ---- Transfer -------------------------------------------------------------------------------------------------------


def test_a_bot_is_given_to_somebody_else_with_its_versions_and_aliases(alice: APIClient, boss: Client) -> None:
    make(alice, "b", agent=firecrawl("fc-key"))
    edit(alice, "b", title="Second")
    use("alice", "b")
    bob, former = local.local_user("bob"), local.local_user("alice")
    path = f"{LIST}b/transfer/"
    shown = boss.post(path, {"owner": "bob"}).content.decode()
    assert bob.pk in shown
    assert former.pk in shown
    assert Bot.objects.get().owner_id == former.pk
    assert post(boss, path, {"owner": "bob"}).status_code == 302
    assert Bot.objects.get().owner_id == bob.pk
    assert not Bot.objects.get().is_indexed
    assert BotAlias.objects.get().bot_owner_id == bob.pk
    assert alice.get("/bot/private/b").status_code == 403
    entry = AuditEntry.objects.get(verb="transfer")
    assert entry.values == {"from_owner": [former.pk], "to_owner": [bob.pk]}


def test_the_old_owner_keeps_what_sharing_gives(alice: APIClient, bob: APIClient, boss: Client) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    local.local_user("bob")
    assert post(boss, f"{LIST}b/transfer/", {"owner": "bob"}).status_code == 302
    assert alice.get("/bot/summary/b").json()["owned"] is False
    assert edit(alice, "b", title="Mine").status_code == 403
    assert edit(bob, "b", title="Mine").status_code == 200


def test_a_bot_is_given_to_nobody_who_is_unknown_suspended_or_full(
    alice: APIClient, bob: APIClient, boss: Client, settings: LazySettings
) -> None:
    make(alice, "b")
    person = local.local_user("bob")
    path = f"{LIST}b/transfer/"
    assert post(boss, path, {"owner": "nobody"}).status_code == 404
    assert post(boss, path, {"owner": "alice"}).status_code == 400
    User.objects.filter(pk=person.pk).update(is_active=False)
    assert "suspended" in alerts(post(boss, path, {"owner": person.pk}))[0]
    User.objects.filter(pk=person.pk).update(is_active=True)
    settings.BOTS_PER_USER = 0
    assert "as many as one may have" in alerts(post(boss, path, {"owner": person.pk}))[0]
    assert Bot.objects.get().owner_id == local.local_user("alice").pk


def test_nothing_on_hold_changes_hands(alice: APIClient, boss: Client) -> None:
    make(alice, "b")
    owner, operator = local.local_user("alice"), Program.command("hold")
    local.local_user("bob")
    path = f"{LIST}b/transfer/"
    holds.hold_person(owner.pk, reason="claim 4711", actor=operator)
    assert alerts(post(boss, path, {"owner": "bob"})) == [f"The person {owner.pk} is on hold: claim 4711"]
    holds.release_person(owner.pk, actor=operator)
    hold_bot("b", reason="claim 4712", actor=operator)
    assert alerts(post(boss, path, {"owner": "bob"})) == ["The bot b is on hold: claim 4712"]
    assert Bot.objects.get().owner_id == owner.pk
    release_bot("b", actor=operator)
    assert post(boss, path, {"owner": "bob"}).status_code == 302


# ---- Who may, and the list ------------------------------------------------------------------------------------------

MAY = {
    "edit": {Role.ADMIN},
    "restore": {Role.ADMIN},
    "transfer": {Role.ADMIN},
    "pin": {Role.SUPPORT, Role.ADMIN},
    "unpin": {Role.SUPPORT, Role.ADMIN},
    "unshare": {Role.SUPPORT, Role.ADMIN},
}


@pytest.mark.parametrize("role", list(Role))
def test_each_role_does_what_it_may_and_is_refused_the_rest_by_address_too(alice: APIClient, role: Role) -> None:
    make(alice, "b")
    share(alice, "b", "all")
    client = browser_of(role)
    for name, roles in MAY.items():
        expected = 200 if role in roles else 403
        assert client.get(f"{LIST}b/{name}/").status_code == expected, name
        if expected == 403:
            assert post(client, f"{LIST}b/{name}/", {"order": "1", "owner": "bob"}).status_code == 403
    assert Bot.objects.get().scope == "all"


def test_orphans_are_listed(alice: APIClient, client_of: Any, boss: Client) -> None:
    make(alice, "b")
    make(client_of("dora", "CreatingBotAllowed"), "orphan")
    User.objects.filter(username="dora").update(is_active=False)
    rows = boss.get(f"{LIST}?orphans=yes").context["cl"].result_list
    assert [row.pk for row in rows] == ["orphan"]
    assert "dora (suspended)" in boss.get(LIST).content.decode()


def test_the_list_shows_questions_and_cost_in_as_many_queries_however_long_it_is(
    alice: APIClient, boss: Client
) -> None:
    def queries() -> int:
        boss.get(LIST)
        with CaptureQueriesContext(connection) as captured:
            assert boss.get(LIST).status_code == 200
        return len(captured)

    make(alice, "b0")
    use("alice", "b0")
    ModelCall.objects.create(
        user_id="u", payer_id="u", bot_id="b0", model="claude-v4.5-haiku", price="1.25", created_at=timezone.now(),
        region="us-east-1", purpose="turn", input_tokens=10, output_tokens=5, latency_ms=5,
    )  # fmt: skip
    shown = boss.get(LIST).content.decode()
    assert "1.2500 USD" in shown
    before = queries()
    for number in range(1, 6):
        make(alice, f"b{number}")
        use("alice", f"b{number}")
    assert queries() == before
    assert before <= 14

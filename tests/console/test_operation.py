"""What operators do with people, budgets and models in the console: by those who may, and refused to the others."""

import html
import re
import zipfile
from datetime import timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.utils import timezone

from bedrock_chat.alerts.models import OpenAlert
from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.bedrock import offering
from bedrock_chat.bedrock.overrides.models import LastFault, ModelOverride
from bedrock_chat.console import registry
from bedrock_chat.console.roles import Role, permissions_of
from bedrock_chat.identity.models import User
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.budgets.models import Budget
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.people.models import Erasure
from tests import build
from tests.console.operators import make_operator
from tests.emulator import Emulator
from tests.ledger.calls import call

pytestmark = pytest.mark.django_db

CONSOLE = "/console/bedrock_chat/"
ALICE = f"{CONSOLE}user/alice/"
NOVA = f"{CONSOLE}modeloverride/amazon-nova-pro/"


@pytest.fixture(autouse=True)
def _people(db: None) -> None:
    for name in ("alice", "bob"):
        User.objects.create(id=name, username=name, password="!", token_groups=["研究"])


def client_with(role: Role) -> Client:
    client = Client()
    codenames = [permission.partition(".")[2] for permission in permissions_of(role)]
    client.force_login(make_operator(f"an-{role}", *codenames))
    return client


@pytest.fixture
def viewer() -> Client:
    return client_with(Role.VIEWER)


@pytest.fixture
def support() -> Client:
    return client_with(Role.SUPPORT)


@pytest.fixture
def olga() -> Client:
    """An admin among the operators."""
    return client_with(Role.ADMIN)


def do(client: Client, path: str, **values: str) -> str:
    """Confirms an action, and returns what the page says then."""
    response = client.post(path, {"confirmed": "yes", **values}, follow=True)
    assert response.status_code == 200, response.content.decode()
    return html.unescape(response.content.decode())


def refused(client: Client, path: str, **values: str) -> str:
    """The sentence by which an action is refused."""
    response = client.post(path, {"confirmed": "yes", **values})
    assert response.status_code in (400, 409), response.status_code
    return html.unescape(response.content.decode())


def test_each_role_does_what_it_may_and_reaches_nothing_else_by_address_either(
    viewer: Client, support: Client, olga: Client
) -> None:
    for_support = [f"{ALICE}suspend/", f"{ALICE}restore/", f"{ALICE}set-budget/", f"{ALICE}remove-budget/"]
    for_admin = [
        *(f"{ALICE}{name}/" for name in ("export", "erase", "hold", "release")),
        *(f"{NOVA}{name}/" for name in ("edit", "test")),
    ]
    for path in for_support:
        assert [client.get(path).status_code for client in (viewer, support, olga)] == [403, 200, 200]
        assert viewer.post(path, {"confirmed": "yes"}).status_code == 403
    for path in for_admin:
        assert [client.get(path).status_code for client in (viewer, support, olga)] == [403, 403, 200]
        assert support.post(path, {"confirmed": "yes"}).status_code == 403
    assert viewer.get(f"{CONSOLE}budget/add/").status_code == 403
    for page in ("user", "erasure", "job", "budget", "modeloverride", "openalert"):
        assert viewer.get(f"{CONSOLE}{page}/").status_code == 200
    assert User.objects.get(pk="alice").is_active
    assert not AuditEntry.objects.filter(actor_kind="operator").exists()


def test_the_page_of_an_action_names_its_list_as_the_navigation_does(support: Client) -> None:
    page = support.get(f"{ALICE}suspend/").content.decode()
    trail = page[page.index("console-trail") :].partition("</h1>")[0]
    assert "People" in trail
    assert "Users" not in trail


def test_operators_are_suspended_and_restored_by_admins_alone(support: Client, olga: Client) -> None:
    """Else support could lock the admins out, and let in again whom an admin has suspended."""
    for login, is_active in (("otto", True), ("vera", False)):
        name = "suspend" if is_active else "restore"
        operator = make_operator(login, is_active=is_active)
        path = f"{CONSOLE}user/{quote(operator.pk)}/{name}/"
        assert [client.get(path).status_code for client in (support, olga)] == [403, 200]
        assert support.post(path, {"confirmed": "yes"}).status_code == 403
        assert f"/{name}/" not in support.get(f"{CONSOLE}user/{quote(operator.pk)}/change/").content.decode()
        listed = {"action": name, "index": "0", "_selected_action": operator.pk, "confirmed": "yes"}
        answer = support.post(f"{CONSOLE}user/", listed, follow=True).content.decode()
        assert "0 of 1 done" in answer
        operator.refresh_from_db()
        assert operator.is_active is is_active
        do(olga, path)
        operator.refresh_from_db()
        assert operator.is_active is not is_active


def test_a_person_is_suspended_and_restored(support: Client, olga: Client) -> None:
    assert "alice is suspended." in do(support, f"{ALICE}suspend/")
    assert not User.objects.get(pk="alice").is_active
    assert "suspended" in support.get(f"{CONSOLE}user/").content.decode()
    assert "let in again" in do(support, f"{ALICE}restore/")
    assert User.objects.get(pk="alice").is_active
    myself = User.objects.get(login="an-admin")
    assert "cannot suspend yourself" in refused(olga, f"{CONSOLE}user/{myself.pk}/suspend/")


def test_budgets_are_set_changed_and_removed(support: Client) -> None:
    values = {"amount": "20", "unit": "usd", "period": "month", "is_hard": "on"}
    assert "may spend 20.00 USD a month" in do(support, f"{ALICE}set-budget/", **values)
    assert "20.00 USD a month, hard: 0.00 USD used" in do(support, f"{ALICE}set-budget/", **values)
    assert "The amount is a number" in refused(support, f"{ALICE}set-budget/", **{**values, "amount": "-1"})
    budget = Budget.objects.get()
    page = f"{CONSOLE}budget/{budget.pk}/"
    assert "0.50 USD a month now" in do(support, f"{page}change-amount/", amount="0.5")
    refused(support, f"{page}change-amount/", amount="much")
    bots = {"payer_kind": "bot", "payer_id": "b1", "amount": "1000", "unit": "tokens", "period": "day"}
    added = support.post(f"{CONSOLE}budget/add/", bots, follow=True)
    assert added.status_code == 200
    assert "1,000 tokens" in support.get(f"{CONSOLE}budget/").content.decode()
    assert Budget.objects.get(payer_id="b1").is_hard is False
    assert "Removed: hard budget of user alice" in do(support, f"{ALICE}remove-budget/", budget=str(budget.pk))
    assert list(Budget.objects.values_list("payer_id")) == [("b1",)]
    other = Budget.objects.get()
    assert "Select a valid choice" in refused(support, f"{ALICE}remove-budget/", budget=str(other.pk))
    verbs = AuditEntry.objects.filter(target_kind="budget", actor_kind="operator").order_by("pk")
    assert [entry.verb for entry in verbs] == ["set", "set", "set", "remove"]


def test_an_erasure_wants_the_id_typed_and_tells_how_far_it_is(olga: Client) -> None:
    assert "not the id of this person" in refused(olga, f"{ALICE}erase/", user_id="bob")
    assert not Job.objects.filter(kind="erase person").exists()
    assert "alice is being erased" in do(olga, f"{ALICE}erase/", user_id="alice")
    assert "being erased" in olga.get(f"{CONSOLE}user/").content.decode()
    assert "waits for a worker" in olga.get(f"{CONSOLE}erasure/").content.decode()
    Erasure.objects.update(begun_at=timezone.now(), steps=["3 conversations are deleted."])
    for path in (f"{CONSOLE}erasure/", f"{CONSOLE}erasure/alice/change/", f"{CONSOLE}job/?kind=erase+person"):
        assert "3 conversations are deleted." in olga.get(path).content.decode()


def test_an_erasure_is_called_off_on_its_page_and_its_job_is_not_cancelled(support: Client, olga: Client) -> None:
    """Else the person would stay suspended for ever, and nobody could let them in again."""
    do(olga, f"{ALICE}erase/", user_id="alice")
    job = Job.objects.get(kind="erase person")
    assert "Call it off on its page" in refused(support, f"{CONSOLE}job/{job.pk}/cancel/")
    assert "is being erased" in refused(olga, f"{ALICE}restore/")
    path = f"{CONSOLE}erasure/alice/call-off/"
    assert [client.get(path).status_code for client in (support, olga)] == [403, 200]
    assert support.post(path, {"confirmed": "yes"}).status_code == 403
    assert "alice is not erased any more" in do(olga, path)
    assert User.objects.get(pk="alice").is_active
    assert not Job.objects.filter(pk=job.pk).exists()


def test_who_is_on_hold_is_shown_with_the_reason_and_not_erased(olga: Client) -> None:
    assert "alice is on hold" in do(olga, f"{ALICE}hold/", reason="A lawsuit")
    assert "A lawsuit" in olga.get(f"{ALICE}change/").content.decode()
    assert "A lawsuit" in refused(olga, f"{ALICE}erase/", user_id="alice")
    assert "on hold no more" in do(olga, f"{ALICE}release/")


@pytest.mark.django_db(transaction=True)
def test_an_export_is_a_download_that_the_audit_has(olga: Client) -> None:
    build.exchange(build.conversation(User.objects.get(pk="alice"), "c1"), "こんにちは")
    response: Any = olga.post(f"{ALICE}export/", {"confirmed": "yes"})
    assert response["Content-Disposition"] == 'attachment; filename="export-alice.zip"'
    with zipfile.ZipFile(BytesIO(b"".join(response))) as archive:
        assert "こんにちは" in archive.read("conversations.jsonl").decode()
    assert AuditEntry.objects.get(verb="export").target_id == "alice"


def base_of(client: Client, path: str) -> str:
    """What a form carries along of the state that it shows."""
    base: str = client.get(path).context["form"]["base"].value()
    return base


@pytest.mark.django_db(transaction=True)
def test_a_model_that_somebody_else_has_changed_meanwhile_is_not_overwritten(olga: Client) -> None:
    path = f"{NOVA}edit/"
    base = base_of(olga, path)
    do(olga, path, base=base, is_enabled="on", groups="research")
    assert "changed meanwhile" in refused(olga, path, base=base, is_enabled="on", input_price="0.5")
    assert (ModelOverride.objects.get().groups, ModelOverride.objects.get().input_price) == (["research"], None)


@pytest.mark.django_db(transaction=True)
def test_a_model_is_disabled_limited_and_priced(olga: Client) -> None:
    values = {
        "is_enabled": "on",
        "groups": "研究\n\n sales ",
        "input_price": "0.5",
        "base": base_of(olga, f"{NOVA}edit/"),
    }
    assert "amazon-nova-pro is saved." in do(olga, f"{NOVA}edit/", **values)
    row = ModelOverride.objects.get()
    assert (row.groups, row.input_price, row.output_price) == (["sales", "研究"], Decimal("0.5"), None)
    page = html.unescape(olga.get(f"{CONSOLE}modeloverride/").content.decode())
    assert "sales, 研究" in page
    assert "an operator" in page
    assert 'value="0.5' in olga.get(f"{NOVA}edit/").content.decode()
    both = {**values, "is_default": "on", "base": base_of(olga, f"{NOVA}edit/")}
    assert "has to be open to everybody" in refused(olga, f"{NOVA}edit/", **both)
    assert "Ensure this value is greater" in refused(olga, f"{NOVA}edit/", is_enabled="on", input_price="-1")
    do(olga, f"{NOVA}edit/", base=both["base"])
    assert "amazon-nova-pro" not in [model.key for model in offering.offered(None)]
    assert olga.get(f"{CONSOLE}modeloverride/no-model/edit/").status_code == 404
    assert olga.get(f"{CONSOLE}modeloverride/no-model/change/").status_code in (302, 404)
    assert olga.get(f"{CONSOLE}modeloverride/?key=1").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_a_model_is_called_once_and_the_page_says_what_came_of_it(olga: Client, emulator: Emulator) -> None:
    emulator.script(text="OK")
    page = html.unescape(olga.post(f"{NOVA}test/", {"confirmed": "yes"}).content.decode())
    assert re.search(r"It answered in [\d,]+ ms: \d+ tokens in, \d+ out, 0\.0\d+ USD", page)
    assert 'value="OK"' in page
    row = ModelCall.objects.get()
    me = User.objects.get(login="an-admin").pk
    assert (row.purpose, row.payer_id, row.model) == ("trial", me, "amazon-nova-pro")
    emulator.script(fault="AccessDeniedException")
    sentence = refused(olga, f"{NOVA}test/")
    assert "The model did not answer (AccessDeniedException). This server has no access to the model." in sentence
    assert ModelCall.objects.order_by("-pk")[0].fault == "AccessDeniedException"


def test_the_lists_cost_as_many_statements_with_many_rows_as_with_few(
    viewer: Client, django_assert_max_num_queries: Any
) -> None:
    now = timezone.now()
    for number in range(40):
        name = f"user{number}"
        User.objects.create(id=name, username=name, password="!")
        Budget.objects.create(payer_kind="user", payer_id=name, unit="usd", period="day", allowance=1)
        Erasure.objects.create(user_id=name, asked_by="olga", asked_at=now)
        Job.objects.create(kind="erase person", payload={"user": name}, due_at=now, created_at=now)
        OpenAlert.objects.create(
            key=name, condition="c", severity=1, sentence="s", remedy="r", link="/", opened_at=now, seen_at=now
        )
    ModelCall.objects.bulk_create([call(now, payer_id=f"user{number}") for number in range(40)])
    LastFault.objects.create(key="amazon-nova-pro", code="ThrottlingException", at=now)
    for page, most in (("user", 16), ("budget", 9), ("erasure", 7), ("job", 9), ("openalert", 8), ("modeloverride", 6)):
        with django_assert_max_num_queries(most):
            assert viewer.get(f"{CONSOLE}{page}/").status_code == 200
    assert "Select record" not in viewer.get(f"{CONSOLE}openalert/").content.decode()  # on a telephone, of a sentence
    shown = viewer.get(f"{CONSOLE}user/?q=user7").content.decode()
    assert "0.0123 USD" in shown
    assert "ThrottlingException" in viewer.get(f"{CONSOLE}modeloverride/").content.decode()


def test_the_first_glance_asks_the_conditions_of_the_alerts(viewer: Client, rf: Any) -> None:
    Job.objects.create(
        kind="sync bot", state="dead", reason="away", due_at=timezone.now(), created_at=timezone.now() - timedelta(1)
    )
    request = rf.get("/console/")
    request.user = User.objects.get(login="an-viewer")
    troubles = registry.troubles_for(request)
    assert [trouble.severity for trouble in troubles] == [registry.Severity.ERROR] * 2
    assert any(trouble.text.startswith("1 job was given up: sync bot.") for trouble in troubles)
    request.user = make_operator("ulf")
    assert registry.troubles_for(request) == []

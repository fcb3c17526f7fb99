"""What operators may do, by their roles, and how an operator is made."""

import io
import json
import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command
from django.test import Client

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console import operators, roles
from bedrock_chat.console.roles import Role
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import Conflict
from tests.console.operators import PASSWORD, make_operator

pytestmark = pytest.mark.django_db
ACTOR = Program.command("create_operator")


@pytest.fixture(autouse=True)
def own_permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test allows is forgotten after it."""
    monkeypatch.setattr(roles, "_allowed", {role: set(names) for role, names in roles._allowed.items()})


def in_role(role: Role, login: str = "olga", **columns: Any) -> User:
    operator = make_operator(login, **columns)
    operators.set_role(operator, role, actor=ACTOR)
    return User.objects.get(pk=operator.pk)


def test_a_migration_makes_the_groups() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == {"viewer", "support", "admin"}


def test_a_role_may_what_those_before_it_may() -> None:
    roles.allow(Role.SUPPORT, "bots.pin_bot")
    roles.allow(Role.ADMIN, "bots.transfer_bot")
    viewer, support, boss = (in_role(role, role) for role in Role)
    for permission, may in {
        "bots.view_bot": [True, True, True],
        "bots.pin_bot": [False, True, True],
        "bots.transfer_bot": [False, False, True],
        "bots.delete_bot": [False, False, False],
    }.items():
        assert [user.has_perm(permission) for user in (viewer, support, boss)] == may


def test_a_superuser_may_everything() -> None:
    assert make_operator(is_superuser=True).has_perm("bots.delete_bot")


def test_a_suspended_operator_and_somebody_who_is_none_may_nothing() -> None:
    suspended = in_role(Role.ADMIN, is_active=False)
    retired = in_role(Role.ADMIN, "rosa")
    User.objects.filter(pk=retired.pk).update(is_staff=False)
    for user in (suspended, User.objects.get(pk=retired.pk), User(id="nobody")):
        assert not user.has_perm("bedrock_chat.view_user")


def test_rows_of_a_group_give_no_permission() -> None:
    olga = make_operator("olga")
    group = Group.objects.create(name="makers")
    group.permissions.set(Permission.objects.all())
    assert group.permissions.exists()
    olga.groups.add(group)
    assert User.objects.get(pk=olga.pk).get_all_permissions() == set()


def test_a_role_costs_one_query(django_assert_num_queries: Any) -> None:
    olga = in_role(Role.VIEWER)
    with django_assert_num_queries(2):  # the operator's own permissions, and the groups
        assert olga.has_perm("bedrock_chat.view_user")
        assert olga.has_perm("bots.view_bot")
        assert not olga.has_perm("bedrock_chat.change_job")


def test_every_page_is_seen_by_viewers_and_changed_by_none_of_them() -> None:
    vera = Client()
    vera.force_login(in_role(Role.VIEWER))
    index = vera.get("/console/").content.decode()
    for page in admin.site._registry.values():
        path = f"/console/{page.opts.app_label}/{page.opts.model_name}/"
        if f"{page.opts.app_label}.view_{page.opts.model_name}" in roles.permissions_of(Role.VIEWER):
            assert path in index
            assert vera.get(path).status_code == 200
        assert vera.get(f"{path}add/").status_code in (403, 404)


def test_an_operator_without_a_role_sees_no_page() -> None:
    client = Client()
    client.force_login(make_operator())
    assert client.get("/console/").status_code == 200
    assert client.get("/console/bots/bot/").status_code == 403


def test_a_permission_is_written_with_its_app() -> None:
    with pytest.raises(ValueError, match=r"app\.codename"):
        roles.allow(Role.ADMIN, "pin_bot")


# ---- Making operators -----------------------------------------------------------------------------------------------


def create(monkeypatch: pytest.MonkeyPatch, *arguments: str, typed: str = "") -> str:
    output = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    call_command("create_operator", *arguments, stdout=output)
    return output.getvalue()


def test_an_operator_is_made_with_a_piped_password_and_signs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "olga may sign in" in create(monkeypatch, "olga", "--role", "support", typed=f"{PASSWORD}\n")
    olga = User.objects.get(login="olga")
    assert (olga.is_staff, olga.is_superuser, roles.role_of(olga)) == (True, False, Role.SUPPORT)
    answer = Client().post("/console/login/", {"username": "olga", "password": PASSWORD})
    assert answer.status_code == 302
    entry = AuditEntry.objects.get(verb="create operator")
    assert (entry.target_id, entry.actor_kind, entry.values) == (olga.pk, "command", {"role": "support"})


def test_a_generated_password_is_printed_once_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads(create(monkeypatch, "olga", "--role", "viewer", "--generate", "--json"))
    assert User.objects.get(pk=document["id"]).check_password(document["password"])


@pytest.mark.parametrize(
    ("login", "password", "sentence"),
    [
        ("olga", "12345", "too short"),
        ("olga", "password", "too common"),
        ("olga-the-operator", "olga-the-operator", "too similar"),
        (" olga", PASSWORD, "A login has"),
        ("", PASSWORD, "A login has"),
        ("taken", PASSWORD, "There is an operator"),
        ("olga", "", "first line"),
    ],
)
def test_a_bad_login_or_password_makes_nobody(
    login: str, password: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_operator("taken")
    with pytest.raises(CommandError, match=sentence):
        create(monkeypatch, login, "--role", "viewer", typed=f"{password}\n")
    assert list(User.objects.values_list("login", flat=True)) == ["taken"]
    assert not AuditEntry.objects.exists()


def test_a_change_of_role_is_recorded_once() -> None:
    olga = in_role(Role.VIEWER)
    assert operators.set_role(olga, Role.ADMIN, actor=ACTOR)
    assert not operators.set_role(olga, Role.ADMIN, actor=ACTOR)
    assert list(olga.groups.values_list("name", flat=True)) == ["admin"]
    first, second = AuditEntry.objects.filter(verb="change role").order_by("pk")
    assert first.values == {"role": {"before": None, "after": "viewer"}}
    assert second.values == {"role": {"before": "viewer", "after": "admin"}}


# ---- On the page of a person ----------------------------------------------------------------------------------------


def page_of(user: User) -> str:
    return f"/console/bedrock_chat/user/{quote(user.pk)}/"


def browser_of(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


def confirm(client: Client, path: str, **values: str) -> Any:
    return client.post(path, {"confirmed": "yes", **values})


def test_an_admin_changes_the_role_of_another_operator_and_takes_it_away() -> None:
    boss, olga = in_role(Role.ADMIN, "boss"), in_role(Role.VIEWER, "olga")
    client = browser_of(boss)
    path = f"{page_of(olga)}role/"
    assert path in client.get(f"{page_of(olga)}change/").content.decode()
    assert client.get(path).context["form"]["role"].value() == "viewer"
    assert confirm(client, path, role="support").status_code == 302
    assert roles.role_of(olga) is Role.SUPPORT
    assert "support" in client.get(f"{page_of(olga)}change/").content.decode()
    assert confirm(client, path, role="").status_code == 302
    assert roles.role_of(olga) is None
    entry = AuditEntry.objects.filter(verb="change role").latest("pk")
    assert (entry.actor_id, entry.values) == (boss.pk, {"role": {"before": "support", "after": None}})


def test_nobody_changes_their_own_role_or_takes_that_of_the_last_admin() -> None:
    boss, other = in_role(Role.ADMIN, "boss"), in_role(Role.ADMIN, "other")
    assert confirm(browser_of(boss), f"{page_of(boss)}role/", role="viewer").status_code == 400
    assert operators.set_role(other, Role.VIEWER, actor=ACTOR)
    with pytest.raises(Conflict, match="last admin"):
        operators.set_role(boss, None, actor=ACTOR)
    User.objects.filter(pk=other.pk).update(is_active=False)
    operators.set_role(other, Role.ADMIN, actor=ACTOR)
    with pytest.raises(Conflict, match="last admin"):  # the other one is suspended
        operators.set_role(boss, None, actor=ACTOR)
    assert roles.role_of(boss) is Role.ADMIN


def test_a_person_becomes_an_operator_with_a_password_that_is_shown_once() -> None:
    alice = User.objects.create(id="alice", username="alice", password="!")
    client = browser_of(in_role(Role.ADMIN, "boss"))
    path = f"{page_of(alice)}make-operator/"
    for login, status in (("cognito:alice", 400), (" ", 400), ("boss", 409)):
        assert confirm(client, path, login=login, role="support").status_code == status
    response = confirm(client, path, login="alice", role="support")
    assert "no-store" in response["Cache-Control"]
    [password] = re.findall(r'id="shown-once"[^>]* value="([^"]*)"', response.content.decode())
    alice.refresh_from_db()
    assert (alice.login, alice.is_staff, roles.role_of(alice)) == ("alice", True, Role.SUPPORT)
    assert Client().post("/console/login/", {"username": "alice", "password": password}).status_code == 302
    assert AuditEntry.objects.filter(verb="create operator", target_id="alice").count() == 1
    assert confirm(client, path, login="alice2", role="admin").status_code == 409
    assert path not in client.get(f"{page_of(alice)}change/").content.decode()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUPPORT])
def test_only_admins_make_operators_and_change_roles(role: Role) -> None:
    alice = User.objects.create(id="alice", username="alice", password="!")
    olga, client = in_role(Role.VIEWER, "olga"), browser_of(in_role(role, "otto"))
    for path in (f"{page_of(olga)}role/", f"{page_of(alice)}make-operator/"):
        assert client.get(path).status_code == 403
        assert confirm(client, path, role="admin", login="alice").status_code == 403
        assert path not in client.get(path.rpartition("/")[0].rpartition("/")[0] + "/change/").content.decode()
    assert roles.role_of(olga) is Role.VIEWER
    assert not User.objects.get(pk="alice").is_staff

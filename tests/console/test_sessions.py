"""Sessions of operators: they expire, are listed, and end at once."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.test import Client
from django.utils import timezone

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import OperatorSession, User
from bedrock_chat.people import suspending
from tests.console.operators import PASSWORD, make_operator

pytestmark = [pytest.mark.both, pytest.mark.django_db]
ACCOUNT, SESSIONS = "/console/account/", "/console/bedrock_chat/operatorsession/"


@pytest.fixture
def olga() -> User:
    return make_operator("olga", "view_user")


def signed_in(login: str = "olga", **headers: Any) -> Client:
    client = Client(**headers)
    answer = client.post("/console/login/", {"username": login, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get("/console/bedrock_chat/user/").status_code == 200


def row_of(client: Client) -> OperatorSession:
    row = session_store.row_of(client.session)
    assert row is not None
    return row


def test_a_session_says_whose_it_is_and_from_where_and_hides_its_key(olga: User) -> None:
    client = signed_in(REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="Firefox/140\x01 on Linux " + "x" * 300)
    row = row_of(client)
    assert (row.user_id, row.network) == (olga.pk, "192.0.2.7")
    assert row.browser.startswith("Firefox/140 on Linux")
    assert row.shown_browser == "Firefox on Linux"
    key = client.cookies["console_session"].value
    assert not any(key in str(value) for value in OperatorSession.objects.values_list().get())
    page = client.get(ACCOUNT).content.decode()
    assert "192.0.2.7" in page
    assert "This one" in page
    assert row.digest not in page


def test_an_idle_session_ends_and_a_busy_one_goes_on(olga: User, settings: Any) -> None:
    settings.CONSOLE_IDLE_MINUTES = 60
    busy, idle = signed_in(), signed_in()
    for client, minutes in ((busy, 59), (idle, 61)):
        OperatorSession.objects.filter(pk=row_of(client).pk).update(seen_at=timezone.now() - timedelta(minutes=minutes))
    assert is_in(busy)
    assert not is_in(idle)
    assert timezone.now() - row_of(busy).seen_at < timedelta(minutes=1)  # it was seen


def test_even_a_busy_session_ends_some_hours_after_the_sign_in(olga: User, settings: Any) -> None:
    client = signed_in()
    row = row_of(client)
    assert row.expires_at - row.started_at == timedelta(hours=settings.CONSOLE_SESSION_HOURS)
    OperatorSession.objects.update(started_at=timezone.now() - timedelta(hours=settings.CONSOLE_SESSION_HOURS))
    session = client.session
    session["anything"] = 1
    session.save()  # what is stored later does not make it last longer
    assert not is_in(client)
    signed_in()  # takes what has expired along
    assert OperatorSession.objects.count() == 1


def test_using_a_session_writes_at_most_once_a_minute(olga: User, django_assert_num_queries: Any) -> None:
    client = signed_in()
    client.get(ACCOUNT)
    before = row_of(client).seen_at
    client.get(ACCOUNT)
    assert row_of(client).seen_at == before


def test_a_sign_in_gets_another_key(olga: User) -> None:
    client = Client()
    client.get("/console/login/")
    session = client.session
    session["x"] = 1
    session.save()
    client.cookies["console_session"] = session.session_key
    client.post("/console/login/", {"username": "olga", "password": PASSWORD})
    assert client.cookies["console_session"].value != session.session_key
    assert not OperatorSession.objects.filter(user__isnull=True).exists()


def test_a_suspended_operator_is_out_at_once_and_the_sessions_do_not_come_back(olga: User) -> None:
    client = signed_in()
    User.objects.filter(pk=olga.pk).update(is_active=False)
    assert not is_in(client)
    assert session_store.end_all(olga.pk) == 1
    User.objects.filter(pk=olga.pk).update(is_active=True)
    assert not is_in(client)


def test_suspending_an_operator_deletes_their_sessions(olga: User) -> None:
    client = signed_in()
    suspending.suspend(olga.pk, actor=Caller(user_id="boss", is_operator=True))
    assert not OperatorSession.objects.filter(user=olga).exists()
    suspending.restore(olga.pk, actor=Caller(user_id="boss", is_operator=True))
    assert not is_in(client)


def test_the_list_of_sessions_costs_the_same_whatever_their_number(
    olga: User, django_assert_max_num_queries: Any
) -> None:
    make_operator("boss", "view_operatorsession")
    boss = signed_in("boss")
    for _ in range(5):
        signed_in()
    with django_assert_max_num_queries(8):
        assert boss.get(SESSIONS).content.decode().count("olga") >= 5


def test_a_changed_password_ends_all_sessions_but_the_own(olga: User) -> None:
    own, other = signed_in(), signed_in()
    new = "quite another password"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert own.post("/console/password_change/", form).status_code == 302
    assert authenticate(None, username="olga", password=new)
    assert is_in(own)
    assert not is_in(other)
    assert OperatorSession.objects.filter(user=olga).count() == 1


def test_one_ends_ones_own_other_session_and_nobody_elses(olga: User) -> None:
    make_operator("otto", "view_user")
    here, there, ottos = signed_in(), signed_in(), signed_in("otto")
    assert here.post(f"{ACCOUNT}sessions/{row_of(ottos).pk}/end/").status_code == 404
    assert is_in(ottos)
    assert here.get(f"{ACCOUNT}sessions/{row_of(there).pk}/end/").status_code == 405
    assert here.post(f"{ACCOUNT}sessions/{row_of(there).pk}/end/").status_code == 302
    assert not is_in(there)
    assert is_in(here)
    entry = AuditEntry.objects.get(verb="end session")
    assert (entry.target_id, entry.actor_id) == (olga.pk, olga.pk)


def test_an_admin_sees_all_sessions_and_ends_them(olga: User) -> None:
    hers = signed_in()
    make_operator("boss", "view_operatorsession", "delete_operatorsession")
    make_operator("vera", "view_operatorsession")
    boss, vera = signed_in("boss"), signed_in("vera")
    row = row_of(hers)
    assert hers.get(SESSIONS).status_code == 403
    assert row.digest not in boss.get(f"{SESSIONS}{row.pk}/change/").content.decode()
    assert row.pk in boss.get(SESSIONS).content.decode()
    assert vera.post(f"{SESSIONS}{row.pk}/end/").status_code == 403
    assert is_in(hers)
    assert boss.post(f"{SESSIONS}{row.pk}/end/").status_code == 302
    assert not is_in(hers)
    assert AuditEntry.objects.get(verb="end session").target_id == olga.pk


def test_forged_forms_are_refused_on_the_pages_of_access(olga: User) -> None:
    client = signed_in(enforce_csrf_checks=False)
    client.handler.enforce_csrf_checks = True  # type: ignore[attr-defined]
    for path in (f"{ACCOUNT}sessions/x/end/", f"{ACCOUNT}second-factor/remove/", "/console/second-factor/enrol/"):
        assert client.post(path, {"code": "1"}).status_code == 403, path


@pytest.mark.parametrize("path", ["/console/login/", ACCOUNT, "/console/", "/console/second-factor/enrol/"])
def test_pages_have_a_policy_and_are_framed_by_nobody(olga: User, settings: Any, path: str) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000
    for client in (Client(), signed_in()):
        answer = client.get(path, secure=True)
        policy = answer["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["Strict-Transport-Security"].startswith("max-age=31536000")
        assert "no-store" in answer.get("Cache-Control", "no-store")

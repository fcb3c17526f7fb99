"""The second factor: nobody who has one gets in without it, and no code is good twice."""

import base64
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console import second_factor
from bedrock_chat.encryption import rotating
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import OperatorSession, SecondFactor, User
from tests.console.operators import PASSWORD, make_operator
from tests.encryption.vault import new_key

pytestmark = [pytest.mark.both, pytest.mark.django_db]
ACTOR = Program.command("test")
ENROL, CODE, ACCOUNT = "/console/second-factor/enrol/", "/console/second-factor/", "/console/account/"


@pytest.fixture(autouse=True)
def _encryption_key(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that codes are made for, in the middle of its 30 seconds. A test moves it."""
    moment = [time.time() // 30 * 30 + 15]
    monkeypatch.setattr(second_factor.time, "time", lambda: moment[0])
    return moment


@pytest.fixture
def olga(now: list[float]) -> User:
    """An operator with a second factor, whose recovery codes stand in `codes`."""
    operator = make_operator("olga", "view_user")
    second_factor.begin(operator)
    operator.codes = second_factor.confirm(operator, app_code(operator, now), actor=ACTOR)  # type: ignore[attr-defined]
    now[0] += 60  # that code is used up
    return operator


def app_code(operator: User, now: list[float], steps: int = 0) -> str:
    """What the operator's app shows."""
    row = SecondFactor.objects.get(pk=operator.pk)
    return second_factor.code_at(second_factor._secret(row), int(now[0]) // 30 + steps)


def password_given(login: str = "olga", path: str = "/console/login/") -> tuple[Client, Any]:
    client = Client()
    return client, client.post(path, {"username": login, "password": PASSWORD})


def is_in(client: Client) -> bool:
    return client.get("/console/bedrock_chat/user/").status_code == 200


def test_a_password_alone_signs_nobody_in_who_has_a_second_factor(olga: User, now: list[float]) -> None:
    client, answer = password_given(path="/console/login/?next=/console/bedrock_chat/user/")
    assert answer["Location"] == CODE
    assert not is_in(client)
    assert client.get(ACCOUNT).status_code == 302
    assert OperatorSession.objects.get().user_id is None
    answer = client.post(CODE, {"code": app_code(olga, now)})
    assert answer["Location"] == "/console/bedrock_chat/user/"
    assert is_in(client)
    session = OperatorSession.objects.get()
    assert (session.user_id, session.has_second_factor) == (olga.pk, True)


def test_without_a_password_nobody_is_asked_for_a_code(olga: User, now: list[float]) -> None:
    client = Client()
    for path in (CODE, ENROL):
        assert client.get(path)["Location"] == "/console/login/"
        assert client.post(path, {"code": app_code(olga, now)})["Location"] == "/console/login/"
    assert not is_in(client)


def test_a_code_is_good_once_and_in_the_seconds_around_its_own(olga: User, now: list[float]) -> None:
    for steps, is_good in [(-2, False), (2, False), (-1, True), (-1, False), (1, True), (0, False), (1, False)]:
        code = app_code(olga, now, steps)
        assert second_factor.check(olga, code, actor=ACTOR) is is_good, steps
        SecondFactor.objects.update(failures=0)


def test_a_code_that_was_used_signs_nobody_else_in(olga: User, now: list[float]) -> None:
    first, second = password_given()[0], password_given()[0]
    code = app_code(olga, now)
    assert first.post(CODE, {"code": code}).status_code == 302
    assert second.post(CODE, {"code": code}).status_code == 200
    assert not is_in(second)


def test_a_recovery_code_is_good_once_however_it_is_typed(olga: User, now: list[float]) -> None:
    codes = olga.codes  # type: ignore[attr-defined]
    assert len(set(codes)) == 10
    client, _ = password_given()
    assert client.post(CODE, {"code": f" {codes[3].upper().replace('-', ' ')} "}).status_code == 302
    assert is_in(client)
    assert not second_factor.check(olga, codes[3], actor=ACTOR)
    assert SecondFactor.objects.get().codes_left == 9
    entry = AuditEntry.objects.get(verb="use recovery code")
    assert (entry.target_id, entry.actor_id, entry.values) == (olga.pk, olga.pk, {"left": 9})


def test_five_wrong_codes_close_the_door_for_a_while_also_to_the_right_one(olga: User, now: list[float]) -> None:
    client, _ = password_given()
    assert [client.post(CODE, {"code": f"00000{number}"}).status_code for number in range(5)] == [200] * 5
    right = app_code(olga, now)
    refusal = client.post(CODE, {"code": right})
    assert refusal.status_code == 429
    assert 800 <= int(refusal["Retry-After"]) <= 900
    assert "try again in 15 minutes" in refusal.content.decode()
    assert client.post(CODE, {"code": olga.codes[0]}).status_code == 429  # type: ignore[attr-defined]
    SecondFactor.objects.update(blocked_until=timezone.now() - timedelta(seconds=1))
    assert client.post(CODE, {"code": right}).status_code == 302


@pytest.mark.parametrize("code", ["", "12345", "1234567", "٠١٢٣٤٥", "abcde-fghij", "x" * 41, "0" * 10_000])
def test_what_is_no_code_opens_nothing(olga: User, code: str) -> None:
    client, _ = password_given()
    assert client.post(CODE, {"code": code}).status_code == 200
    assert not is_in(client)


def test_whoever_changes_the_password_or_is_suspended_ends_what_was_half_done(olga: User, now: list[float]) -> None:
    for change in ({"is_active": False}, {"is_active": True, "password": "pbkdf2_sha256$1$other$x"}):
        client, _ = password_given()
        User.objects.filter(pk=olga.pk).update(**change)
        assert client.post(CODE, {"code": app_code(olga, now)})["Location"] == "/console/login/"
        assert not is_in(client)
        User.objects.filter(pk=olga.pk).update(is_active=True)


# ---- Enrolling ------------------------------------------------------------------------------------------------------


def enrolled(client: Client, operator: User, now: list[float], **form: str) -> Any:
    page = client.get(ENROL)
    key = re.search(r'<code id="key">([A-Z2-7 ]+)</code>', page.content.decode())
    assert key is not None
    secret = base64.b32decode(key[1].replace(" ", "")).hex()
    return client.post(ENROL, {"code": second_factor.code_at(secret, int(now[0]) // 30), **form})


def test_where_it_is_required_a_password_leads_to_enrolling(settings: Any, now: list[float]) -> None:
    settings.CONSOLE_REQUIRE_SECOND_FACTOR = True
    olga = make_operator("olga", "view_user")
    client, answer = password_given()
    assert answer["Location"] == ENROL
    assert not is_in(client)
    client.get(ENROL)
    assert client.post(ENROL, {"code": "000000"}).status_code == 200
    page = enrolled(client, olga, now)
    codes = re.findall(r"<li><code>([a-z0-9-]{11})</code></li>", page.content.decode())
    assert len(codes) == 10
    assert "no-store" in page["Cache-Control"]
    assert is_in(client)
    assert password_given()[1]["Location"] == CODE
    assert AuditEntry.objects.filter(verb="enrol second factor", target_id=olga.pk).count() == 1


def test_where_it_becomes_required_sessions_without_one_stay_outside(settings: Any, now: list[float]) -> None:
    make_operator("olga", "view_user")
    client, _ = password_given()
    assert is_in(client)
    settings.CONSOLE_REQUIRE_SECOND_FACTOR = True
    assert not is_in(client)


def test_a_secret_that_was_seen_at_a_browser_left_open_is_not_the_one_enrolled_later(
    now: list[float],
) -> None:
    operator = make_operator("uma")
    seen = second_factor.begin(operator).secret
    assert second_factor.begin(operator).secret == seen  # the page was loaded anew
    SecondFactor.objects.update(created_at=timezone.now() - timedelta(minutes=16))
    assert second_factor.begin(operator).secret != seen


def test_who_is_signed_in_enrols_with_the_password_which_ends_other_sessions(now: list[float]) -> None:
    olga = make_operator("olga", "view_user")
    client, other = password_given()[0], password_given()[0]
    assert "This is not your password" in enrolled(client, olga, now, password="wrong").content.decode()
    assert not second_factor.has_one(olga)
    assert enrolled(client, olga, now, password=PASSWORD).status_code == 200
    assert second_factor.has_one(olga)
    assert is_in(client)
    assert not is_in(other)
    assert client.get(ENROL).status_code == 409


def test_codes_are_renewed_and_the_factor_removed_only_with_a_code(olga: User, now: list[float]) -> None:
    client, _ = password_given()
    client.post(CODE, {"code": app_code(olga, now)})
    for path in ("codes", "remove"):
        assert client.post(f"{ACCOUNT}second-factor/{path}/", {"code": "000000"}).status_code == 200
    assert second_factor.has_one(olga)
    now[0] += 30
    page = client.post(f"{ACCOUNT}second-factor/codes/", {"code": app_code(olga, now)})
    assert len(re.findall(r"<li><code>", page.content.decode())) == 10
    assert not second_factor.check(olga, olga.codes[0], actor=ACTOR)  # type: ignore[attr-defined]
    now[0] += 30
    assert client.post(f"{ACCOUNT}second-factor/remove/", {"code": app_code(olga, now)})["Location"] == ACCOUNT
    assert not second_factor.has_one(olga)
    verbs = set(AuditEntry.objects.values_list("verb", flat=True))
    assert {"renew recovery codes", "remove second factor"} <= verbs


def test_an_admin_removes_the_second_factor_of_somebody_else(olga: User) -> None:
    page = f"/console/bedrock_chat/secondfactor/{olga.pk.replace(':', '_3A')}/"
    boss, viewer = Client(), Client()
    boss.force_login(make_operator("boss", "view_secondfactor", "delete_secondfactor"))
    viewer.force_login(make_operator("vera", "view_secondfactor"))
    assert viewer.post(f"{page}remove/").status_code == 403
    assert second_factor.has_one(olga)
    assert boss.post(f"{page}remove/").status_code == 302
    assert not second_factor.has_one(olga)
    assert AuditEntry.objects.get(verb="remove second factor").target_id == olga.pk


def test_nobody_removes_their_own_factor_without_a_code_by_the_page_of_everybodys(olga: User) -> None:
    client = Client()
    client.force_login(olga)
    olga.user_permissions.set(Permission.objects.filter(codename__in=["view_secondfactor", "delete_secondfactor"]))
    answer = client.post(f"/console/bedrock_chat/secondfactor/{olga.pk.replace(':', '_3A')}/remove/")
    assert answer.status_code == 403
    assert second_factor.has_one(olga)


def test_secrets_are_stored_encrypted_and_rotate_with_the_others(olga: User) -> None:
    row = SecondFactor.objects.get()
    assert {"bedrock_chat.SecondFactor.encrypted_secret", "bedrock_chat.SecondFactor.encrypted_codes"} <= set(
        rotating.registered()
    )
    stored = row.encrypted_secret + row.encrypted_codes
    assert second_factor._secret(row) not in stored
    assert olga.codes[0].replace("-", "") not in stored  # type: ignore[attr-defined]

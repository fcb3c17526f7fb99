"""Signing in to the console: how often a password may be tried, by whom, and what is told of it."""

import ipaddress
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from django.contrib.auth import hashers
from django.test import Client, RequestFactory
from django.urls import get_resolver

from bedrock_chat.identity import failed_tokens, password_attempts, passwords
from bedrock_chat.identity.models import User
from tests import minutes
from tests.console.operators import PASSWORD, make_operator, sign_in, text_of
from tests.minutes import Clock

pytestmark = pytest.mark.django_db
NOWHERE = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return minutes.hold(monkeypatch)


@pytest.fixture(autouse=True)
def olga(db: None) -> User:
    return make_operator("olga", "view_user")


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every hash that is computed."""
    computed: list[int] = []
    pbkdf2 = hashers.pbkdf2

    def count(password: str, salt: str, iterations: int, **options: Any) -> bytes:
        computed.append(iterations)
        return pbkdf2(password, salt, iterations, **options)

    monkeypatch.setattr(hashers, "pbkdf2", count)
    return computed


def statuses(number: int, **options: Any) -> list[int]:
    return [sign_in(**options).status_code for _ in range(number)]


def signs_in(**extra: Any) -> bool:
    return sign_in(password=PASSWORD, **extra).status_code == 302


def test_the_sixth_failure_with_a_login_is_refused_before_a_hash_is_computed(hashes: list[int]) -> None:
    assert statuses(7) == [200] * 5 + [429] * 2
    assert len(hashes) == 5


def test_the_eleventh_failure_of_an_address_is_refused_whatever_the_logins(hashes: list[int]) -> None:
    assert [sign_in(f"login-{number}").status_code for number in range(12)] == [200] * 10 + [429] * 2
    assert len(hashes) == 10
    assert not signs_in()


def test_the_refusal_is_a_page_for_people_that_says_how_long(hashes: list[int]) -> None:
    statuses(5)
    refusal = sign_in()
    seconds = int(refusal["Retry-After"])
    assert 1 <= seconds <= 60
    assert refusal["Content-Type"].startswith("text/html")
    assert "no-store" in refusal["Cache-Control"]
    page = refusal.content.decode()
    assert f"try again in {seconds} second" in page
    assert re.findall(r'<a [^>]*href="([^"]*)"', page) == ["/console/"]
    assert "default-src" in refusal["Content-Security-Policy"]


def test_the_true_owner_gets_in_whatever_others_do_with_the_login() -> None:
    for number in range(3):
        assert statuses(6, REMOTE_ADDR=f"192.0.2.{number}")[-1] == 429
    assert signs_in(REMOTE_ADDR="198.51.100.1")


def test_only_failures_count() -> None:
    assert all(signs_in() for _ in range(11))
    assert statuses(6) == [200] * 5 + [429]


def test_a_success_resets_nothing() -> None:
    statuses(4)
    assert signs_in()
    assert statuses(2) == [200, 429]
    assert not signs_in()
    make_operator("otto")
    assert signs_in(login="otto")  # the address has five failures
    assert [sign_in(f"login-{number}").status_code for number in range(6)] == [200] * 5 + [429]
    assert not signs_in(login="otto")


def test_a_refused_attempt_is_no_further_failure() -> None:
    statuses(8)
    assert [sign_in(f"login-{number}").status_code for number in range(6)] == [200] * 5 + [429]


def test_attempts_that_begin_and_are_refused_meanwhile_let_no_other_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    assert statuses(5) == [200] * 5
    get_usage = password_attempts.get_usage

    def interrupted(*args: Any, **options: Any) -> Any:
        usage = get_usage(*args, **options)
        with monkeypatch.context() as patched:
            patched.setattr(password_attempts, "get_usage", get_usage)
            assert sign_in().status_code == 429
        return usage

    monkeypatch.setattr(password_attempts, "get_usage", interrupted)
    assert sign_in().status_code == 429


def test_a_minute_later_one_may_fail_again(clock: Clock) -> None:
    assert statuses(6)[-1] == 429
    clock.now += 61
    assert statuses(6) == [200] * 5 + [429]


def test_an_attempt_that_outlives_its_minute_allows_no_failure_more_in_the_next(clock: Clock) -> None:
    attempts = [password_attempts.begin(RequestFactory().get("/"), "olga") for _ in range(5)]
    clock.now += 61
    for attempt in attempts:
        attempt.give_back()
    assert statuses(6) == [200] * 5 + [429]


def test_failures_from_elsewhere_displace_no_count() -> None:
    assert statuses(5) == [200] * 5
    for number in range(400):
        request = RequestFactory().get("/", REMOTE_ADDR=f"192.0.{number % 2}.{number // 2}")
        failed_tokens.count(request)
    assert statuses(1) == [429]


def test_a_form_that_is_not_filled_in_is_no_attempt(hashes: list[int]) -> None:
    for form in ({}, {"username": "olga"}, {"password": "wrong"}, {"username": "olga", "password": ""}):
        assert [Client().post("/console/login/", form).status_code for _ in range(3)] == [200] * 3
    assert hashes == []
    assert statuses(1) == [200]


def test_the_parameters_of_the_address_change_nothing() -> None:
    queries = ["?next=/console/", "?next=//evil.example.com&x=1", "?q=%FF", "?username=olga&password=x", "?"]
    assert [sign_in(path=f"/console/login/{query}").status_code for query in queries] == [200] * 5
    assert [sign_in(path=f"/console/login/{query}").status_code for query in ("", *queries)] == [429] * 6


def test_no_other_method_checks_a_password(hashes: list[int]) -> None:
    form = {"username": "olga", "password": "wrong"}
    for method in ("get", "put", "patch", "delete", "head", "options"):
        send: Callable[..., Any] = getattr(Client(), method)
        send("/console/login/?username=olga&password=wrong", form)
    assert hashes == []


def test_the_neighbours_in_an_ipv6_network_count_as_one() -> None:
    failures = [sign_in(REMOTE_ADDR=f"2001:db8:0:1::{number:x}").status_code for number in range(1, 7)]
    assert failures == [200] * 5 + [429]
    assert sign_in(REMOTE_ADDR="2001:db8:0:2::1").status_code == 200
    assert sign_in(REMOTE_ADDR="::ffff:192.0.2.1").status_code == 200


def test_behind_a_proxy_the_client_counts_and_a_clients_own_word_does_not(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("10.0.0.0/8")]
    through = {"REMOTE_ADDR": "10.0.0.1"}
    claims = [f"192.0.2.{number}, 198.51.100.1" for number in range(6)]
    assert [sign_in(HTTP_X_FORWARDED_FOR=claim, **through).status_code for claim in claims] == [200] * 5 + [429]
    assert sign_in(HTTP_X_FORWARDED_FOR="198.51.100.2", **through).status_code == 200
    without = [sign_in(HTTP_X_FORWARDED_FOR=claim, REMOTE_ADDR="203.0.113.9").status_code for claim in claims]
    assert without == [200] * 5 + [429]


def test_known_and_unknown_logins_get_the_same_answer_after_one_hash(hashes: list[int]) -> None:
    make_operator("suspended", is_active=False)
    make_operator("retired", is_staff=False)
    unusable = make_operator("unusable")
    unusable.set_unusable_password()
    unusable.save()
    hashes.clear()
    answers = {}
    for login in ("olga", "nobody", "suspended", "retired", "unusable"):
        password = PASSWORD if login in ("suspended", "retired") else "wrong"
        response = sign_in(login, password)
        answers[login] = (response.status_code, text_of(response, login), len(hashes))
        hashes.clear()
    assert len(set(answers.values())) == 1
    assert answers["olga"][0] == 200
    assert answers["olga"][2] == 1


def test_known_and_unknown_logins_are_refused_alike() -> None:
    for login in ("olga", "nobody"):
        statuses(5, login=login, REMOTE_ADDR=f"192.0.2.{len(login)}")
    olga = sign_in("olga", REMOTE_ADDR="192.0.2.4")
    nobody = sign_in("nobody", REMOTE_ADDR="192.0.2.6")
    assert olga.status_code == nobody.status_code == 429
    assert len(text_of(olga, "olga")) == pytest.approx(len(text_of(nobody, "nobody")), abs=5)  # the seconds differ


def test_a_failure_leaves_one_line_that_names_neither_password_nor_login(
    olga: User, caplog: pytest.LogCaptureFixture
) -> None:
    sign_in("olga", "my guess", REMOTE_ADDR="192.0.2.7")
    sign_in("my password in the wrong field", "x", REMOTE_ADDR="192.0.2.7")
    assert signs_in()
    lines: list[Any] = [record.msg for record in caplog.records if record.name == passwords.__name__]
    assert [line["event"] for line in lines] == ["sign-in failed"] * 2
    assert [line["address"] for line in lines] == ["192.0.2.7"] * 2
    assert [line["operator_id"] for line in lines] == [olga.pk, None]
    assert lines[0]["login_digest"] != lines[1]["login_digest"]
    for secret in ("my guess", "wrong field", "olga", PASSWORD):
        assert secret not in str(lines)


def test_without_their_cache_operators_get_in(settings: Any) -> None:
    settings.CACHES = {**settings.CACHES, "ratelimit": NOWHERE}
    assert statuses(7) == [200] * 7
    assert signs_in()


def test_where_too_many_passwords_are_checked_the_answer_is_503_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, hashes: list[int]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(passwords, "_admitted", threading.Semaphore(0))
        refusal = sign_in()
        assert refusal.status_code == 503
        assert int(refusal["Retry-After"]) >= 1
        assert refusal["Content-Type"].startswith("text/html")
        assert statuses(5) == [503] * 5
    assert hashes == []
    assert statuses(6) == [200] * 5 + [429]


# ---- The other doors to a check of a password ---------------------------------------------------------------------


def change_password(client: Client, old: str, new: str = "a quite new password", again: str = "") -> Any:
    form = {"old_password": old, "new_password1": new, "new_password2": again or new}
    return client.post("/console/password_change/", form)


def test_trying_ones_own_old_password_is_limited_like_a_sign_in(olga: User, hashes: list[int]) -> None:
    client = Client()
    client.force_login(olga)
    assert [change_password(client, "wrong").status_code for _ in range(6)] == [200] * 5 + [429]
    assert len(hashes) == 5
    assert not signs_in()  # it is the same count


def test_ones_own_password_can_be_changed(olga: User, caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    client.force_login(olga)
    assert [change_password(client, PASSWORD, again="mistyped").status_code for _ in range(6)] == [200] * 6
    assert not [record for record in caplog.records if record.name == passwords.__name__]
    assert change_password(client, PASSWORD)["Location"] == "/console/password_change/done/"
    assert client.get("/console/").status_code == 200
    assert sign_in(password="a quite new password").status_code == 302


def test_there_are_no_more_doors(olga: User, hashes: list[int]) -> None:
    patterns = [pattern for route in get_resolver().url_patterns for pattern in getattr(route, "url_patterns", [route])]
    names = [pattern.name for pattern in patterns if "password" in str(getattr(pattern, "name", ""))]
    assert names == ["password_change", "password_change_done"]
    client = Client()
    client.force_login(make_operator("root", is_superuser=True))
    hashes.clear()
    for path in (f"bedrock_chat/user/{olga.pk}/password/", f"bedrock_chat/user/{olga.pk}/change/"):
        client.post(
            f"/console/{path}", {"password1": "x", "password2": "x", "old_password": "x", "usable_password": "true"}
        )
    assert hashes == []
    assert signs_in()


# ---- Where a sign-in leads ----------------------------------------------------------------------------------------


EVIL = [
    "",
    "?next=",
    "?next=https://evil.example.com/console/",
    "?next=//evil.example.com",
    "?next=///evil.example.com",
    "?next=/%5Cevil.example.com",
    "?next=%5C%5Cevil.example.com",
    "?next=https:evil.example.com",
    "?next=http:///evil.example.com",
    "?next=javascript:alert(1)",
    "?next=data:text/html,x",
    "?next=%20//evil.example.com",
    "?next=%09//evil.example.com",
    "?next=https://testserver@evil.example.com/",
    "?next=https://testserver.evil.example.com/",
    "?next=/console/&next=//evil.example.com",
]


def test_without_a_page_of_ours_to_return_to_it_leads_to_the_index() -> None:
    for query in EVIL:
        assert sign_in(password=PASSWORD, path=f"/console/login/{query}")["Location"] == "/console/", query
        form = {"username": "olga", "password": PASSWORD, "next": unquote(query.rpartition("next=")[2])}
        assert Client().post("/console/login/", form)["Location"] == "/console/", query


def test_else_it_leads_back() -> None:
    page = "/console/bedrock_chat/user/?is_staff__exact=1"
    to_sign_in = Client().get(page)["Location"]
    assert sign_in(password=PASSWORD, path=to_sign_in)["Location"] == page


def test_the_index_is_there_after_a_sign_in(olga: User) -> None:
    client = Client()
    response: Any = client.post("/console/login/", {"username": "olga", "password": PASSWORD}, follow=True)
    assert (response.redirect_chain, response.status_code) == ([("/console/", 302)], 200)
    assert client.get("/console/login/")["Location"] == "/console/"

"""Signing in by Cognito's hosted login, for members of the group Admin and nobody else."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console.roles import Role, role_of
from bedrock_chat.console.signing_in import cognito
from bedrock_chat.identity import tokens
from bedrock_chat.identity.models import OperatorSession, User
from tests.console.hosted_login import CLIENT, SECRET, HostedLogin
from tests.console.operators import make_operator
from tests.test_settings import read
from tests.tokens import make_key, make_token

pytestmark = [pytest.mark.both, pytest.mark.django_db]
START, RETURN = "/console/cognito/", "/console/cognito/return/"


@pytest.fixture(scope="module")
def login_server() -> Iterator[HostedLogin]:
    with HostedLogin() as server:
        yield server


@pytest.fixture
def hosted(login_server: HostedLogin, settings: Any) -> Iterator[HostedLogin]:
    server = login_server
    server.claims, server.answer_token, server.signing_key = {}, None, server.key
    server.person = {"sub": "sub-alice", "cognito:username": "alice", "cognito:groups": ["Admin"]}
    settings.CONSOLE_OIDC_CLIENT_ID, settings.CONSOLE_OIDC_CLIENT_SECRET = CLIENT, SECRET
    settings.CONSOLE_OIDC_DOMAIN = server.url
    settings.COGNITO_USER_POOL_ID, settings.COGNITO_CLIENT_IDS = "pool", ["the-frontend"]
    settings.COGNITO_ISSUER, settings.COGNITO_JWKS_URL = server.url, f"{server.url}/jwks.json"
    cognito._verifier.cache_clear()
    tokens.reset()
    yield server
    tokens.reset()


def begun(client: Client, query: str = "") -> str:
    """The address that the hosted login sends a browser back to, as a path of ours."""
    answer = client.get(f"{START}{query}")
    assert answer.status_code == 302
    there = urllib3.request("GET", answer["Location"], redirect=False, retries=False)
    back = urlsplit(there.headers["Location"])
    assert back.path == RETURN
    return f"{back.path}?{back.query}"


def sign_in(client: Client, query: str = "") -> Any:
    return client.get(begun(client, query))


def is_in(client: Client) -> bool:
    return client.get("/console/bots/bot/").status_code == 200


def test_a_member_of_admin_signs_in_and_has_the_role(hosted: HostedLogin, settings: Any) -> None:
    settings.CONSOLE_REQUIRE_SECOND_FACTOR = True  # the pool asks for it, if anybody does
    client = Client()
    assert "Sign in with Cognito" in client.get("/console/login/").content.decode()
    answer = sign_in(client, "?next=/console/bots/bot/")
    assert answer["Location"] == "/console/bots/bot/"
    assert is_in(client)
    alice = User.objects.get(pk="sub-alice")
    assert (alice.is_staff, alice.is_superuser, alice.has_usable_password()) == (True, False, False)
    assert alice.login == "cognito:alice"
    assert role_of(alice) is Role.ADMIN
    entry = AuditEntry.objects.get(verb="create operator")
    assert (entry.target_id, entry.values) == ("sub-alice", {"role": "admin"})
    assert "keeps your password" in client.get("/console/account/").content.decode()
    assert client.get("/console/second-factor/enrol/").status_code == 400
    assert sign_in(Client()).status_code == 302  # and again, which makes nobody anew
    assert AuditEntry.objects.filter(verb="create operator").count() == 1


def test_a_name_that_is_taken_or_too_long_is_no_login(hosted: HostedLogin) -> None:
    make_operator("cognito:alice")
    sign_in(Client())
    assert User.objects.get(pk="sub-alice").login == "cognito:sub-alice"
    hosted.person.update({"sub": "sub-bob", "cognito:username": "b" * 200})
    sign_in(Client())
    assert User.objects.get(pk="sub-bob").login == "cognito:sub-bob"


def test_what_is_sent_to_the_hosted_login_is_new_each_time(hosted: HostedLogin) -> None:
    queries = [parse_qs(urlsplit(Client().get(START)["Location"]).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert queries[0][name] != queries[1][name]
        assert len(queries[0][name][0]) >= 43
    assert queries[0]["redirect_uri"][0].endswith("/console/cognito/return/")


@pytest.mark.parametrize("groups", [None, [], ["Adm"], ["admin"], ["PublishAllowed"]])
def test_nobody_else_gets_in(hosted: HostedLogin, groups: Any) -> None:
    hosted.person["cognito:groups"] = groups
    client = Client()
    refusal = sign_in(client)
    assert refusal.status_code == 403
    assert "not in the group Admin" in refusal.content.decode()
    assert not is_in(client)
    assert not User.objects.filter(is_staff=True).exists()


def test_who_has_left_the_group_loses_role_and_sessions(hosted: HostedLogin) -> None:
    client = Client()
    sign_in(client)
    hosted.person["cognito:groups"] = ["PublishAllowed"]
    assert sign_in(Client()).status_code == 403
    assert not is_in(client)
    alice = User.objects.get(pk="sub-alice")
    assert (alice.is_staff, role_of(alice)) == (False, None)
    assert not OperatorSession.objects.filter(user=alice).exists()
    assert AuditEntry.objects.get(verb="retire operator").values == {"role": "admin"}


def test_a_local_operator_is_not_retired_by_a_token(hosted: HostedLogin) -> None:
    olga = make_operator("olga", "view_user")
    hosted.person.update({"sub": olga.pk, "cognito:groups": []})
    assert sign_in(Client()).status_code == 403
    assert User.objects.get(login="olga").is_staff


def test_a_suspended_member_stays_outside(hosted: HostedLogin) -> None:
    User.objects.create(pk="sub-alice", username="alice", is_active=False)
    client = Client()
    assert sign_in(client).status_code == 403
    assert not is_in(client)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.com"},
        {"aud": "the-frontend"},
        {"aud": ["console-client", "another"]},
        {"exp": int(time.time()) - 60},
        {"iat": int(time.time()) + 3600},
        {"nonce": None},
        {"nonce": "another"},
        {"nonce": 7},
        {"token_use": "access"},
        {"sub": None},
    ],
)
def test_a_token_that_says_something_else_is_refused(hosted: HostedLogin, claims: dict[str, Any]) -> None:
    hosted.claims = claims
    client = Client()
    refusal = sign_in(client)
    assert refusal.status_code == 403
    assert "not accepted" in refusal.content.decode()
    assert not is_in(client)
    assert not User.objects.exists()


def test_a_token_that_another_key_signed_is_refused(hosted: HostedLogin) -> None:
    hosted.signing_key = make_key()
    assert sign_in(Client()).status_code == 403
    assert not User.objects.exists()


def test_a_return_that_this_browser_did_not_begin_is_refused_before_anybody_is_asked(hosted: HostedLogin) -> None:
    alices = begun(Client())
    hosted.exchanges.clear()
    fresh, begun_elsewhere = Client(), Client()
    begun(begun_elsewhere)
    for client in (fresh, begun_elsewhere):
        assert client.get(alices).status_code == 403
        assert client.get(f"{RETURN}?code=x").status_code == 403
    assert hosted.exchanges == []


def test_a_return_is_good_once(hosted: HostedLogin) -> None:
    client = Client()
    back = begun(client)
    assert client.get(f"{back}x").status_code == 403  # another state: this visit is over
    assert client.get(back).status_code == 403
    assert not is_in(client)


def test_whoever_only_comes_by_costs_no_row(hosted: HostedLogin) -> None:
    client = Client()
    begun(client)
    assert not OperatorSession.objects.exists()
    client.cookies["console_visit"] = client.cookies["console_visit"].value.replace("state", "estat")
    assert client.get(f"{RETURN}?code=x&state=y").status_code == 403


def test_a_code_without_its_verifier_is_worth_nothing(hosted: HostedLogin) -> None:
    """A code that was caught on its way, sent by somebody with a visit of their own."""
    stolen = parse_qs(urlsplit(begun(Client())).query)["code"][0]
    thief = Client()
    own_state = parse_qs(urlsplit(begun(thief)).query)["state"][0]
    assert thief.get(f"{RETURN}?code={stolen}&state={own_state}").status_code == 403
    assert not is_in(thief)


def test_the_words_of_an_error_are_not_shown(hosted: HostedLogin) -> None:
    client = Client()
    begun(client)
    page = client.get(f"{RETURN}?error=access_denied&error_description=Call+0800-EVIL")
    assert page.status_code == 403
    assert "EVIL" not in page.content.decode()


def dripping() -> tuple[int, bytes]:
    time.sleep(2)
    return 200, b"{}"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda: (200, b"{}"), 403),
        (lambda: (200, b"[]"), 403),
        (lambda: (200, b"x" * 200_000), 503),
        (lambda: (200, b'{"id_token": 7}'), 403),
        (lambda: (200, b'{"id_token": "no token"}'), 403),
        (lambda: (302, b""), 403),
        (lambda: (400, b""), 403),
        (lambda: (500, b""), 503),
        (lambda: (429, b""), 503),
        (dripping, 503),
    ],
)
def test_a_token_endpoint_that_fails_signs_nobody_in(
    hosted: HostedLogin, answer: Any, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cognito, "TOTAL_SECONDS", 1.0)
    hosted.answer_token = answer
    client = Client()
    assert sign_in(client).status_code == status
    assert not is_in(client)


def test_the_next_page_is_one_of_ours(hosted: HostedLogin) -> None:
    assert sign_in(Client(), "?next=//evil.example.com")["Location"] == "/console/"


def test_without_the_setting_there_is_no_such_way_in(settings: Any) -> None:
    assert settings.CONSOLE_OIDC_CLIENT_ID == ""
    assert Client().get(START).status_code == 404
    assert Client().get(RETURN).status_code == 404
    assert "Cognito" not in Client().get("/console/login/").content.decode()


def test_the_api_refuses_a_token_of_the_consoles_client(hosted: HostedLogin) -> None:
    claims = {"iss": hosted.url, "sub": "sub-alice", "cognito:groups": ["Admin"]}
    statuses = {
        audience: APIClient()
        .get("/conversations", HTTP_AUTHORIZATION=f"Bearer {make_token(hosted.key, aud=audience, **claims)}")
        .status_code
        for audience in ("the-frontend", CLIENT)
    }
    assert statuses == {"the-frontend": 200, CLIENT: 401}


def test_the_consoles_client_cannot_be_the_apis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    console = {"CONSOLE_OIDC_CLIENT_ID": "b", "CONSOLE_OIDC_DOMAIN": "https://login.example.com", "DEBUG": "true"}
    with pytest.raises(ImproperlyConfigured, match="COGNITO_USER_POOL_ID"):
        read(monkeypatch, tmp_path, **console)
    pool = {"COGNITO_USER_POOL_ID": "p", "COGNITO_CLIENT_ID": "a,b"}
    with pytest.raises(ImproperlyConfigured, match="a client of its own"):
        read(monkeypatch, tmp_path, **console, **pool)
    monkeypatch.setenv("COGNITO_CLIENT_ID", "a")
    assert read(monkeypatch, tmp_path, **console, **{**pool, "COGNITO_CLIENT_ID": "a"}).CONSOLE_OIDC_CLIENT_ID == "b"

"""Tokens: which are accepted, which are refused, and whose they are."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.identity import tokens
from bedrock_chat.identity.models import User
from tests import minutes
from tests.people import auth
from tests.tokens import CLIENT, HOUR, ISSUER, JwksServer, make_key, make_token, sign

KEY, OTHER = make_key(), make_key()
pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def server() -> Iterator[JwksServer]:
    with JwksServer(k1=KEY) as server:
        yield server


@pytest.fixture
def pool(server: JwksServer, settings: Any) -> Iterator[JwksServer]:
    """A deployment with a Cognito pool, whose keys are at the JWKS server."""
    settings.COGNITO_USER_POOL_ID, settings.COGNITO_CLIENT_IDS = "us-east-1_Test", [CLIENT, "client-2"]
    settings.COGNITO_ISSUER, settings.COGNITO_JWKS_URL = ISSUER, server.url
    settings.FAILED_TOKENS_RATE = "1000/m"
    tokens.reset()
    yield server
    tokens.reset()


def get(authorization: str | None, path: str = "/conversations") -> Any:
    headers = {} if authorization is None else {"HTTP_AUTHORIZATION": authorization}
    return APIClient().get(path, **headers)


def test_an_id_token_counts_and_makes_its_user(pool: JwksServer) -> None:
    token = make_token(KEY, **{"cognito:groups": ["PublishAllowed"]})
    assert get(f"Bearer {token}").status_code == 200
    assert get(f"bearer  {token}").status_code == 200
    user = User.objects.get()
    assert (user.username, user.email, user.token_groups) == ("alice", "alice@example.com", ["PublishAllowed"])
    assert not user.has_usable_password()


def test_any_of_the_clients_may_be_the_audience(pool: JwksServer) -> None:
    assert get(f"Bearer {make_token(KEY, aud='client-2')}").status_code == 200


NOW = int(time.time())
HS256 = jwt.encode(
    {"iss": ISSUER, "aud": CLIENT, "sub": "x", "token_use": "id", "exp": NOW + HOUR, "iat": NOW},
    "a shared secret that is long enough to be one",
    headers={"kid": "k1"},
)
BAD = {
    "expired": make_token(KEY, exp=NOW - HOUR),
    "of tomorrow": make_token(KEY, iat=NOW + HOUR),
    "another audience": make_token(KEY, aud="other"),
    "several audiences": make_token(KEY, aud=[CLIENT, "other"]),
    "no audience": make_token(KEY, aud=None),
    "another issuer": make_token(KEY, iss="https://evil.example.com"),
    "no issuer": make_token(KEY, iss=None),
    "an access token": make_token(KEY, token_use="access"),
    "no token_use": make_token(KEY, token_use=None),
    "no expiry": make_token(KEY, exp=None),
    "expiry in words": make_token(KEY, exp="tomorrow"),
    "expiry in digits": make_token(KEY, exp=str(NOW + HOUR)),
    "an endless expiry": make_token(KEY, exp=float("inf")),
    "an expiry beyond numbers": make_token(KEY, exp=10**400),
    "issued in digits": make_token(KEY, iat=str(NOW)),
    "no iat": make_token(KEY, iat=None),
    "no subject": make_token(KEY, sub=None),
    "a NUL in the subject": make_token(KEY, sub="a\0b"),
    "a subject that is too long": make_token(KEY, sub="x" * 129),
    "half a character in the subject": make_token(KEY, sub="a\ud800"),
    "no username": make_token(KEY, **{"cognito:username": None}),
    "half a character in the username": make_token(KEY, **{"cognito:username": "a\ud800"}),
    "half a character in the email": make_token(KEY, email="a\ud800"),
    "a NUL in a group": make_token(KEY, **{"cognito:groups": ["Admin", "a\0b"]}),
    "groups in one word": make_token(KEY, **{"cognito:groups": "Admin"}),
    "an unknown key": make_token(OTHER, "k9"),
    "another key's signature": make_token(OTHER, "k1"),
    "no kid": make_token(KEY, ""),
    "alg none": jwt.encode({"iss": ISSUER}, None, algorithm="none", headers={"kid": "k1"}),
    "HS256": HS256,
    "a critical header": make_token(KEY, headers={"crit": ["x"], "x": 1}),
    "an issuer that is no text": sign('{"iss": {"a": 1}}', KEY),
    "claims that are a list": sign("[]", KEY),
    "claims that are no JSON": sign("claims", KEY),
    "claims without a bottom": sign('{"a":' + "[" * 5000 + "]" * 5000 + "}", KEY),
    "two parts": "a.b",
    "many dots": "." * 5000,
    "too long": make_token(KEY, email="x" * 20_000),
    "not base64": "ä.ö.ü",
    "nothing": "",
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD.keys())
def test_a_bad_token_is_a_401_that_says_how(pool: JwksServer, token: str) -> None:
    response = get(f"Bearer {token}")
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    assert response.json()["errors"] == [response.json()["detail"]]
    if len(token) > 20:
        assert token not in str(response.headers) + response.content.decode()
    assert not User.objects.exists()


def test_the_public_key_is_no_shared_secret(pool: JwksServer) -> None:
    import base64
    import hashlib
    import hmac

    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = make_token(KEY).split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1","typ":"JWT"}').rstrip(b"=").decode()
    signature = hmac.digest(pem, f"{header}.{body}".encode(), hashlib.sha256)
    forged = f"{header}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    assert head != header
    assert get(f"Bearer {forged}").status_code == 401


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Basic YTpi", make_token(KEY), f"Token {make_token(KEY)}"]
)
def test_bearer_is_the_only_scheme(pool: JwksServer, authorization: str | None) -> None:
    response = get(authorization)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_suspending_a_user_acts_at_once(pool: JwksServer) -> None:
    token = make_token(KEY)
    assert get(f"Bearer {token}").status_code == 200
    User.objects.update(is_active=False)
    assert get(f"Bearer {token}").status_code == 403
    User.objects.update(is_active=True)
    assert get(f"Bearer {token}").status_code == 200


def test_news_in_a_token_reach_the_users_row(pool: JwksServer) -> None:
    get(f"Bearer {make_token(KEY)}")
    get(f"Bearer {make_token(KEY, email='new@example.com', **{'cognito:groups': ['Admin']})}")
    user = User.objects.get()
    assert (user.email, user.token_groups) == ("new@example.com", ["Admin"])


def test_claims_are_remembered_until_they_expire_and_no_longer(
    pool: JwksServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make_token(KEY, exp=int(time.time()) + 60)
    assert get(f"Bearer {token}").status_code == 200
    monkeypatch.setattr("jwt.decode", lambda *_, **__: pytest.fail("verified again"))
    assert get(f"Bearer {token}").status_code == 200
    later = time.time() + 60 + tokens.LEEWAY_SECONDS
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    assert get(f"Bearer {token}").status_code == 401


def test_the_memory_of_tokens_is_bounded(pool: JwksServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "CACHED_TOKENS", 3)
    for number in range(6):
        tokens.verifier().verify(make_token(KEY, jti=str(number)))
    assert len(tokens.verifier()._seen) == 3


def test_failed_tokens_are_limited_per_address_and_a_valid_one_passes(
    pool: JwksServer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes.hold(monkeypatch)
    settings.FAILED_TOKENS_RATE = "3/m"
    statuses = [get("Bearer bogus").status_code for _ in range(6)]
    assert statuses == [401, 401, 401, 429, 429, 429]
    limited = get("Bearer bogus")
    assert 1 <= int(limited["Retry-After"]) <= 60
    assert get(f"Bearer {make_token(KEY)}").status_code == 200
    elsewhere = APIClient().get("/conversations", HTTP_AUTHORIZATION="Bearer bogus", REMOTE_ADDR="192.0.2.7")
    assert elsewhere.status_code == 401
    neighbours = [f"2001:db8::{number}" for number in range(1, 6)]
    statuses = [
        APIClient().get("/conversations", HTTP_AUTHORIZATION="Bearer bogus", REMOTE_ADDR=address).status_code
        for address in neighbours
    ]
    assert statuses == [401, 401, 401, 429, 429]


def test_a_cache_that_is_down_makes_no_fault_of_a_bad_token(pool: JwksServer, settings: Any) -> None:
    nowhere = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "ratelimit": nowhere}
    assert get("Bearer bogus").status_code == 401


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_the_first_requests_of_a_user_may_race(pool: JwksServer) -> None:
    token = make_token(KEY)

    def ask(_: int) -> int:
        try:
            status: int = get(f"Bearer {token}").status_code
            return status
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [200] * 8
    assert User.objects.count() == 1


def test_a_local_token_takes_the_same_path_and_is_refused_where_it_is_off(settings: Any) -> None:
    headers = auth("alice", "Admin")
    assert APIClient().get("/conversations", **headers).status_code == 200
    settings.LOCAL_IDENTITIES = False
    tokens.reset()
    assert APIClient().get("/conversations", **headers).status_code == 401
    tokens.reset()

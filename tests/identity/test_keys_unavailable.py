"""While no key of the pool can be loaded, its tokens are neither good nor bad: 503, until the keys come back.

The JWKS server is a real one, which can be down, empty, or not there at all.
"""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest
from rest_framework.test import APIClient

from bedrock_chat.identity import authentication, local, tokens
from bedrock_chat.identity.models import SigningKey, User
from bedrock_chat.wire.errors import ServiceUnavailable, TooManyRequests, Unauthenticated
from tests import minutes
from tests.emulator import Emulator
from tests.listening import frames, send
from tests.listening import socket as open_socket
from tests.live import LiveServer
from tests.people import auth, private_key
from tests.tokens import CLIENT, HOUR, ISSUER, JwksServer, make_key, make_token, sign

KEY, OTHER = make_key(), make_key()
NOW = int(time.time())


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def pool(settings: Any, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[JwksServer]:
    """A deployment with a Cognito pool and with local identities. Nothing listens where the pool's keys should be."""
    settings.COGNITO_USER_POOL_ID, settings.COGNITO_CLIENT_IDS = "us-east-1_Test", [CLIENT]
    server = JwksServer(free_port, k1=KEY)
    settings.COGNITO_ISSUER, settings.COGNITO_JWKS_URL = ISSUER, server.url
    settings.FAILED_TOKENS_RATE = "3/m"
    minutes.hold(monkeypatch)
    SigningKey.objects.create(kid=local.FIRST_KEY, private_key=private_key())
    tokens.reset()
    yield server
    tokens.reset()


def get(token: str) -> Any:
    return APIClient().get("/conversations", HTTP_AUTHORIZATION=f"Bearer {token}")


@pytest.mark.django_db
def test_a_token_is_503_and_no_failure_and_keys_that_come_back_are_used_at_once(pool: JwksServer) -> None:
    token = make_token(KEY)
    for _ in range(5):  # beyond FAILED_TOKENS_RATE
        response = get(token)
        assert response.status_code == 503
        assert response["Retry-After"] == "1"
        assert response.json()["errors"] == [response.json()["detail"]]
    assert not User.objects.exists()
    with pool:
        assert get(token).status_code == 200
        assert [get("bogus").status_code for _ in range(4)] == [401, 401, 401, 429]


@pytest.mark.django_db
def test_a_server_that_answers_without_keys_is_no_better(pool: JwksServer) -> None:
    with pool:
        pool.down = True
        assert get(make_token(KEY)).status_code == 503
        pool.down, pool.keys = False, {}
        assert get(make_token(KEY)).status_code == 503
        pool.keys = {"k1": KEY}
        assert get(make_token(KEY)).status_code == 200


FAULTY = {
    "malformed": "a.b.c",
    "no token": "nonsense",
    "expired": make_token(KEY, exp=NOW - HOUR),
    "not yet valid": make_token(KEY, nbf=NOW + HOUR),
    "of tomorrow": make_token(KEY, iat=NOW + HOUR),
    "another audience": make_token(KEY, aud="other"),
    "another issuer": make_token(KEY, iss="https://evil.example.com"),
    "an access token": make_token(KEY, token_use="access"),
    "no subject": make_token(KEY, sub=None),
    "no username": make_token(KEY, **{"cognito:username": None}),
    "no kid": make_token(KEY, ""),
    "claims that are a list": sign("[]", KEY),
    "a signature with padding": make_token(KEY) + "==",
}


@pytest.mark.django_db
@pytest.mark.parametrize("token", FAULTY.values(), ids=FAULTY.keys())
def test_what_is_wrong_without_any_key_is_judged_and_counted_as_ever(pool: JwksServer, token: str) -> None:
    assert [get(token).status_code for _ in range(4)] == [401, 401, 401, 429]


@pytest.mark.django_db
def test_local_tokens_are_judged_as_ever(pool: JwksServer) -> None:
    assert APIClient().get("/conversations", **auth("bob")).status_code == 200
    stranger = make_token(OTHER, local.FIRST_KEY, iss="bedrock-chat:local", aud="bedrock-chat")
    unknown = make_token(OTHER, "k9", iss="bedrock-chat:local", aud="bedrock-chat")
    assert get(stranger).status_code == 401
    assert get(unknown).status_code == 401


@pytest.mark.django_db
def test_once_keys_were_loaded_an_unknown_one_is_401_also_during_an_outage(pool: JwksServer) -> None:
    with pool:
        assert get(make_token(KEY)).status_code == 200
    assert get(make_token(KEY, jti="another")).status_code == 200
    assert get(make_token(OTHER, "k9")).status_code == 401


@pytest.mark.django_db
def test_the_sign_in_of_the_websocket_says_the_same(pool: JwksServer) -> None:
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": "127.0.0.1"}
    for _ in range(5):
        with pytest.raises(ServiceUnavailable):
            authentication.sign_in(request, make_token(KEY))
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            authentication.sign_in(request, FAULTY["expired"])
    with pytest.raises(TooManyRequests):
        authentication.sign_in(request, FAULTY["expired"])
    with pool:
        assert authentication.sign_in(request, make_token(KEY)).user_id


@pytest.mark.slow
def test_over_real_sockets_the_keys_come_back_at_once(
    emulator_process: Emulator, tmp_path: Any, free_port: int
) -> None:
    keys = JwksServer(free_port, k1=KEY)
    cognito = {
        "COGNITO_USER_POOL_ID": "us-east-1_Test",
        "COGNITO_CLIENT_ID": CLIENT,
        "COGNITO_ISSUER": ISSUER,
        "COGNITO_JWKS_URL": keys.url,
    }
    message = {"content": [{"contentType": "text", "body": "hello"}], "model": "claude-v4.5-sonnet"}
    body = {"conversationId": "c1", "message": message}
    with LiveServer(tmp_path, emulator_process.url, **cognito) as server:
        token = make_token(KEY)
        assert server.call("GET", "/conversations", token=token)[0] == 503
        with open_socket(server) as websocket:
            websocket.send(json.dumps({"step": "START", "token": token}))
            refusal = json.loads(websocket.recv(10))
            assert refusal["status"] == "ERROR"
            assert "keys cannot be loaded" in refusal["reason"]
        assert server.call("GET", "/conversations", token=server.manage("issue_token", "bob"))[0] == 200
        with keys, open_socket(server) as websocket:
            send(websocket, token, body)
            assert frames(websocket)[-1] == "Message sent."
            assert server.call("GET", "/conversation/c1", token=token)[0] == 200

"""Large bodies over the product's own routes: strangers are refused unread, those who are known are not."""

import re
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.hostile import bodies
from tests.hostile.costs import MEGABYTE
from tests.live import LiveServer
from tests.test_permissions import TABLE

LARGE = 65 * 1024
ORIGIN = "https://app.example.com"
ROUTES = [
    *((route.split()[0] if " " in route else "GET", path) for route, (path, _, _) in TABLE.items()),
    ("POST", "/console/login/"),
    ("POST", "/nowhere"),
]
OTHER_WAYS_IN = ("/published/", "/uploads")
"""A key or a signed address opens these: without one they are 403."""


def send(server: LiveServer, method: str, path: str, size: int, **headers: str) -> httpx.Response:
    content = b'{"a":"' + b"a" * (size - 8) + b'"}'
    headers = {"Content-Type": "application/json", "Origin": ORIGIN, **headers}
    return httpx.request(method, server.url + path, content=content, headers=headers, timeout=30)


def must_be_refused(answer: httpx.Response) -> None:
    assert answer.headers["Connection"] == "close"
    if answer.url.path.startswith(OTHER_WAYS_IN):
        assert answer.status_code == 403
        return
    assert answer.status_code == 401
    assert answer.json()["errors"] == ["A request body over 64 KB needs a valid token."]
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    is_for_pages_of_elsewhere = "/console/" not in str(answer.url)
    assert ("Access-Control-Allow-Origin" in answer.headers) == is_for_pages_of_elsewhere


def test_a_strangers_large_body_is_refused_on_every_route(server: LiveServer) -> None:
    for method, path in ROUTES:
        must_be_refused(send(server, method, path, LARGE))


@pytest.mark.parametrize("path", ["/conversation", "/bot", "/published/b1/api/conversation", "/nowhere"])
def test_a_strangers_small_body_is_read(server: LiveServer, path: str) -> None:
    answer = send(server, "POST", path, 60 * 1024)
    assert answer.status_code in (401, 403, 404)
    assert answer.headers.get("Connection") != "close"


@pytest.mark.parametrize("cookie", ["console_session=nonsense", "console_session=" + "x" * 32, "csrftoken=x", "=;=;"])
@pytest.mark.parametrize("path", ["/console/login/", "/conversation"])
def test_a_cookie_that_is_no_session_opens_nothing(server: LiveServer, path: str, cookie: str) -> None:
    must_be_refused(send(server, "POST", path, LARGE, Cookie=cookie))


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", ""])
def test_a_bad_token_is_told_what_is_wrong_with_it_and_read_no_further(server: LiveServer, token: str) -> None:
    where = urlsplit(server.url)
    fields = f"Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 90000000"
    with socket.create_connection((where.hostname, where.port), 10) as client:
        client.sendall(f"POST /conversation HTTP/1.1\r\n{fields}\r\n\r\n".encode() + bytes(1000))
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_alice_may_send_a_large_body(server: LiveServer, alice: str) -> None:
    question = bodies.turn([bodies.text("a" * 200_000)])
    answer = httpx.post(f"{server.url}/conversation", json=question, headers={"Authorization": f"Bearer {alice}"})
    assert answer.status_code == 404  # the bot that it names is nowhere


def test_a_key_may_send_a_large_body_to_its_own_api_and_nowhere_else(server: LiveServer, key: str) -> None:
    question = {"message": {"content": [bodies.text("a" * 200_000)], "model": bodies.MODEL}}
    for path, value, status in (
        ("/published/b1/api/conversation", key, 200),
        ("/published/b1/dev/conversation", key, 403),
        ("/published/b2/api/conversation", key, 403),
        ("/published/b1/api/conversation", key[:-1], 403),
        ("/conversation", key, 401),
        ("/console/login/", key, 401),
    ):
        answer = httpx.post(f"{server.url}{path}", json=question, headers={"x-api-key": value}, timeout=30)
        assert answer.status_code == status, path
        assert (answer.headers.get("Connection") == "close") == (status != 200)


def test_an_operator_may_send_a_large_form_to_the_console_and_nowhere_else(server: LiveServer, alice: str) -> None:
    server.manage("shell", "-c", CREATE_OPERATORS)
    for login, is_operator in (("olga", True), ("bob", False)):
        with httpx.Client(base_url=server.url, timeout=30) as browser:
            page = browser.get("/console/login/").text
            (csrf,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
            browser.post("/console/login/", data={"username": login, "password": "pw", "csrfmiddlewaretoken": csrf})
            assert ("console_session" in browser.cookies) == is_operator
            form = {"csrfmiddlewaretoken": browser.cookies["csrftoken"], "a": "a" * MEGABYTE}
            console = browser.post("/console/bedrock_chat/user/", data=form)
            assert (console.status_code == 401) != is_operator, console.text
            assert browser.post("/conversation", data=form).status_code == 401


CREATE_OPERATORS = """
from bedrock_chat.identity.models import User
User.objects.create_superuser("olga", password="pw")
User.objects.create_superuser("bob", password="pw", is_active=False)
"""

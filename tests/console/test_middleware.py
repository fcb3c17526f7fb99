"""Sessions, the CSRF check and messages are there for the console's pages and static files, and cost nobody else."""

from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils.module_loading import import_string

from bedrock_chat import checks
from bedrock_chat.console import middleware

PAGES = ["/console/", "/console/login/", "/console/no/such/", "/static/no-such.css"]
OTHERS = [
    "/health",
    "/config/global",
    "/conversations",
    "/chat",
    "/docs",
    "/docs?script",
    "/no/such",
    "/console",
    "/staticfiles",
]
ATTRIBUTES = ("session", "user", "_messages")


@pytest.mark.django_db
@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_a_session_its_user_and_messages(client: Client, path: str) -> None:
    request = client.get(path).wsgi_request
    assert [name for name in ATTRIBUTES if not hasattr(request, name)] == []


@pytest.mark.django_db
@pytest.mark.parametrize("path", OTHERS)
def test_any_other_request_has_neither_session_nor_messages(client: Client, path: str) -> None:
    client.cookies.load({"console_session": "x" * 32, "csrftoken": "x" * 32})
    response = client.get(path)
    assert [name for name in ("session", "_messages") if hasattr(response.wsgi_request, name)] == []
    assert "Set-Cookie" not in response.headers
    assert "Cookie" not in response.headers.get("Vary", "")


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/console/", "/console/login/", "/console/no/such/"])
def test_a_form_without_a_token_is_forged(path: str) -> None:
    browser = Client(enforce_csrf_checks=True)
    assert browser.post(path, {"username": "olga"}).status_code == 403
    token = browser.get("/console/login/").context["csrf_token"]
    forged = "x" * len(str(token))
    assert browser.post(path, {"username": "olga", "csrfmiddlewaretoken": forged}).status_code == 403
    assert browser.post(path, {"username": "olga", "csrfmiddlewaretoken": str(token)}).status_code != 403


@pytest.mark.django_db
@pytest.mark.parametrize("path", OTHERS)
def test_no_other_route_asks_for_a_token_of_forms(path: str) -> None:
    assert Client(enforce_csrf_checks=True).post(path, {}).status_code in (401, 404, 405)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/health", "/no/such", "/console/login/", "/static/no-such.css"])
def test_every_answer_has_the_headers_against_sniffing_and_framing(client: Client, path: str) -> None:
    response = client.get(path, secure=True)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == response["Cross-Origin-Opener-Policy"] == "same-origin"


def test_the_classes_stand_in_djangos_order() -> None:
    ours = [path for path in django_settings.MIDDLEWARE if path.startswith(middleware.__name__)]
    assert [import_string(path).__mro__[2].__name__ for path in ours] == [
        "WhiteNoiseMiddleware",
        "SessionMiddleware",
        "AuthenticationMiddleware",
        "CsrfViewMiddleware",
        "MessageMiddleware",
    ]


@pytest.mark.parametrize(
    ("name", "value", "warning"),
    [
        ("MIDDLEWARE", ["bedrock_chat.console.middleware.PagesSession"], "bedrock_chat.W003"),
        ("SESSION_COOKIE_SECURE", False, "bedrock_chat.W004"),
        ("CSRF_COOKIE_SECURE", False, "bedrock_chat.W004"),
        ("SESSION_COOKIE_HTTPONLY", False, "bedrock_chat.W005"),
    ],
)
def test_a_deployment_is_told_that_its_console_is_open(settings: Any, name: str, value: Any, warning: str) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    assert checks.console_is_protected() == []
    setattr(settings, name, value)
    assert [message.id for message in checks.console_is_protected()] == [warning]

"""What the middleware does around every view: hosts, addresses, methods, policies, CORS."""

from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, RequestFactory

from bedrock_chat.wire.requests import WireRequest
from tests.wire.urls import SECRET

ORIGIN = {"Origin": "https://chat.example.com"}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("host", ["evil.example.com", "not a host", "a/b", "[::1", "x" * 300])
def test_a_host_that_is_not_ours_is_a_400_in_our_shape(client: Client, settings: Any, debug: bool, host: str) -> None:
    settings.DEBUG, settings.ALLOWED_HOSTS = debug, ["chat.example.com"]
    response = client.get("/items/1", headers={"Host": host, **ORIGIN})
    assert response.status_code == 400
    assert "Host header" in response.json()["detail"]
    assert response["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/items/a%00b", 400),
        ("/items/1?q=a%00b", 400),
        ("/items/%ff%fe", 200),
        ("/items/1?q=%ff%ed%a0%80", 200),
        ("/%00", 400),
        ("/%ff", 404),
    ],
)
def test_no_address_is_a_fault_of_the_server(client: Client, address: str, status: int) -> None:
    assert client.get(address).status_code == status


@pytest.mark.parametrize(
    ("address", "status"),
    [("/items/1", 200), ("/nowhere", 404), ("/fails/crash", 500), ("/fails-plainly/crash", 500), ("/items/%00", 400)],
)
def test_every_answer_carries_cors_headers_and_a_policy(client: Client, address: str, status: int) -> None:
    response = client.get(address, headers=ORIGIN)
    assert response.status_code == status
    assert response["Access-Control-Allow-Origin"] == "*"
    assert "Retry-After" in response["Access-Control-Expose-Headers"]
    assert response["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"


@pytest.mark.parametrize("debug", [False, True])
def test_a_failing_middleware_is_a_500_in_our_shape(client: Client, settings: Any, debug: bool) -> None:
    settings.DEBUG = debug
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.wire.urls.FailingMiddleware"]
    response = client.get("/items/1")
    assert response.status_code == 500
    assert response["Content-Type"] == "application/json"
    assert SECRET not in response.content.decode()
    assert set(response.json()) == {"detail", "errors"}


def test_the_console_alone_shows_djangos_pages_under_debug(client: Client, settings: Any) -> None:
    settings.DEBUG = True
    response = client.get("/console/crash")
    assert response.status_code == 500
    assert response["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("/items/1", "DELETE, GET, HEAD, OPTIONS"),
        ("/echo", "OPTIONS, POST"),
        ("/fails/crash", "DELETE, GET, HEAD, OPTIONS"),
    ],
)
def test_options_needs_no_token_and_names_the_methods(client: Client, address: str, allowed: str) -> None:
    response = client.options(address)
    assert (response.status_code, response["Allow"]) == (204, allowed)


@pytest.mark.parametrize(
    "names",
    [
        {"authorization", "content-type"},
        {"authorization", "content-type", "traceparent", "tracestate"},  # a page with OpenTelemetry
        {"authorization", "content-type", "sentry-trace", "baggage"},  # a page with Sentry
    ],
)
def test_a_preflight_allows_what_frontends_and_their_tracing_send(client: Client, names: set[str]) -> None:
    preflight = {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": ",".join(sorted(names)),
    }
    response = client.options("/items/1", headers={**ORIGIN, **preflight})
    assert response.status_code == 200
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(response["Access-Control-Allow-Methods"].split(", "))
    assert names <= set(response["Access-Control-Allow-Headers"].split(", "))
    assert int(response["Access-Control-Max-Age"]) > 0


def test_a_preflight_allows_no_header_that_nobody_named(client: Client) -> None:
    preflight = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-anything"}
    response = client.options("/items/1", headers={**ORIGIN, **preflight})
    assert "x-anything" not in response["Access-Control-Allow-Headers"].split(", ")


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "aes128gcm", "identity, gzip", "nonsense"]
)
def test_a_coding_of_the_body_is_a_415_that_names_it(client: Client, coding: str) -> None:
    response = client.post("/echo", b"\x1f\x8b", content_type="application/json", headers={"Content-Encoding": coding})
    assert response.status_code == 415
    assert f"Content-Encoding {coding} " in response.json()["detail"]
    assert response["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity", " identity ", "identity, identity", "", " ", ","])
def test_a_body_that_is_sent_as_it_is_is_read(client: Client, coding: str) -> None:
    response = client.post("/echo", b"{}", content_type="application/json", headers={"Content-Encoding": coding})
    assert response.status_code == 200


def test_a_coding_of_a_body_that_nobody_reads_is_nothing(client: Client) -> None:
    for method in (client.get, client.head, client.options):
        assert method("/items/1", headers={"Content-Encoding": "gzip"}).status_code in (200, 204)


def test_a_very_long_coding_makes_no_long_answer(client: Client) -> None:
    headers = {"Content-Encoding": "x" * 50_000}
    response = client.post("/echo", b"{}", content_type="application/json", headers=headers)
    assert response.status_code == 415
    assert len(response.content) < 2_000


@pytest.mark.django_db  # the end of a request looks after the connection
@pytest.mark.parametrize(
    ("content_type", "read_as"),
    [
        ("application/json; charset=hex", "application/json"),
        ("application/json; charset=utf-16", "application/json"),
        ("application/json; charset*=nope''x", ""),
        ("application/json; charset*=idna''%ff", ""),
    ],
)
def test_no_content_type_keeps_a_request_from_being_read(content_type: str, read_as: str, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.wire.urls"
    environ = {
        **RequestFactory()._base_environ(PATH_INFO="/items/1", QUERY_STRING="q=%C3%A9"),
        "CONTENT_TYPE": content_type,
    }

    class Handler(WSGIHandler):
        request_class = WireRequest

    request = WireRequest(dict(environ))
    assert (request.content_type, request.GET["q"]) == (read_as, "é")
    statuses: list[str] = []
    Handler()(dict(environ), lambda status, headers: statuses.append(status))
    assert statuses == ["200 OK"]

"""Requests that no sound client sends: each is refused in the shape of every error, and none causes a 5xx."""

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from bedrock_chat.identity.models import User
from tests import build
from tests.contract.tokens import known_key
from tests.conversations.chat import payload
from tests.people import auth
from tests.pictures import b64, picture

ORIGIN = "https://app.example.com"


def turn(content: Any = "hello", conversation: str = "c1", **fields: Any) -> bytes:
    return json.dumps(payload(conversation, content, **fields)).encode()


def image(png: str, media_type: str = "image/png") -> dict[str, Any]:
    return {"contentType": "image", "mediaType": media_type, "body": png}


def document(name: str = "notes.txt", body: str = "bm90ZXM=") -> dict[str, Any]:
    return {"contentType": "attachment", "fileName": name, "body": body}


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SVG = base64.b64encode(b'<svg xmlns="http://www.w3.org/2000/svg"/>').decode()
CUT_PNG = base64.b64encode(base64.b64decode(PNG)[:20]).decode()
TEXT = {"contentType": "text", "body": "look"}

BODIES: dict[str, bytes] = {
    "empty": b"",
    "malformed JSON": b'{"conversationId": "c1",',
    "two documents": b"{} {}",
    "not UTF-8": b'{"conversationId": "\xff\xfe"}',
    "UTF-16": '{"conversationId": "c1"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a lone surrogate": b'{"conversationId": "\\ud800", "message": {}}',
    "a lone surrogate in a key": b'{"\\udfff": 1}',
    "NUL in a string": turn("a\0b"),
    "NUL in a key": b'{"\\u0000": 1}',
    "NUL in an id": turn(conversation="a\0b"),
    "a raw control character": b'{"conversationId": "a\x01b"}',
    "NaN": b'{"conversationId": NaN}',
    "Infinity": b'{"conversationId": -Infinity}',
    "a number beyond floats": b'{"conversationId": 1e400}',
    "a number beyond 64 bits": b'{"conversationId": ' + b"9" * 400 + b"}",
    "a number of 10,000 digits": b'{"conversationId": ' + b"9" * 10_000 + b"}",
    "10,000 lists deep": b"[" * 10_000 + b"]" * 10_000,
    "10,000 objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "100 levels deep": b'{"message":' * 100 + b"1" + b"}" * 100,
    "a list": b"[]",
    "a list of turns": b"[" + turn() + b"]",
    "a string": b'"hello"',
    "a number": b"1",
    "null": b"null",
    "message is a list": b'{"conversationId": "c1", "message": []}',
    "message is null": b'{"conversationId": "c1", "message": null}',
    "content is a number": turn(0),  # type: ignore[arg-type]
    "content of nulls": turn([None]),
    "content of lists": turn([[]]),
    "no content type": turn([{"body": "x"}]),
    "a content type that is a list": turn([{"contentType": [], "body": "x"}]),
    "a body that is an object": turn([{"contentType": "text", "body": {}}]),
    "bad base64": turn([image("abc"), TEXT]),
    "base64 of another alphabet": turn([image("-_-_"), TEXT]),
    "base64 that is not ASCII": turn([image("é" * 8), TEXT]),
    "an empty image": turn([image(""), TEXT]),
    "21 images": turn([image(PNG)] * 21),
    "6 documents": turn([document()] * 6 + [TEXT]),
    "an SVG image": turn([image(SVG, "image/svg+xml"), TEXT]),
    "an SVG that says it is PNG": turn([image(SVG), TEXT]),
    "half a PNG header": turn([image(CUT_PNG), TEXT]),
    "a BMP that says it is PNG": turn([image(b64(picture("bmp"))), TEXT]),
    "a media type without a slash": turn([image(PNG, "png"), TEXT]),
    "a document of an unknown kind": turn([document("a.exe"), TEXT]),
    "a document without an ending": turn([document("notes"), TEXT]),
    "tool traffic alone": turn([{"contentType": "toolUse", "body": {"toolUseId": "t", "name": "n", "input": {}}}]),
    "a tool use of lists": turn([{"contentType": "toolUse", "body": []}, TEXT]),
    "a conversation id of 257 characters": turn(conversation="x" * 257),
    "an empty conversation id": turn(conversation=""),
    "a message id of 257 characters": turn(message_id="x" * 257),
    "an empty message id": turn(message_id=""),
    "a message id that names the root": turn(message_id="system"),
    "a parent that is nowhere": turn(parent="x" * 100_000),
    "an unknown model": turn(model="gpt-4"),
    "a model that is a list": turn(model=[]),  # type: ignore[arg-type]
    "a role that is no user's": turn().replace(b'"user"', b'"assistant"'),
    "switches that are no switches": turn(continue_generate="perhaps", enable_reasoning={}),
    "a conversation id that is a dot": turn(conversation="."),
    "a conversation id that is two dots": turn(conversation=".."),
    "a conversation id with a line break": turn(conversation="a\nb"),
    "a conversation id with an escape character": turn(conversation="a\x1bb"),
    "a conversation id with a control character of C1": turn(conversation="a\x85b"),
    "a conversation id that ends like a longer route": turn(conversation="a/title"),
    "a conversation id that holds a longer route": turn(conversation="a/related-documents/b"),
    "a message id that is two dots": turn(message_id=".."),
    "a message id with a tab": turn(message_id="a\tb"),
    "a message id with a slash": turn(message_id="a/b"),
    "a message id that reads like a route": turn(message_id="related-documents"),
    "an endless name": b'{"' + b"x" * 1_000_000 + b'": 1}',
}

TITLES: dict[str, bytes] = {
    "empty": b"",
    "a list": b"[]",
    "a number": b'{"newTitle": 5}',
    "null": b'{"newTitle": null}',
    "NUL": b'{"newTitle": "a\\u0000"}',
    "a lone surrogate": b'{"newTitle": "\\ud800"}',
    "too long": json.dumps({"newTitle": "x" * 1001}).encode(),
    "without a character": b'{"newTitle": ""}',
    "a blank": b'{"newTitle": " "}',
    "blanks of all kinds": json.dumps({"newTitle": "\t\n\r\u00a0\u2003\u3000\u2028"}).encode(),
    "invisible": json.dumps({"newTitle": "\u200b\u200d\ufeff\u2060\u00ad"}).encode(),
    "letters that show nothing": json.dumps({"newTitle": "\u3164\u115f\u2800"}).encode(),
}

PATHS = {
    "NUL": ("/conversation/a%00b", 400),
    "NUL in the query": ("/conversations?limit=%00", 400),
    "not UTF-8": ("/conversation/%ff%fe", 404),
    "a surrogate in UTF-8": ("/conversation/%ed%a0%80", 404),
    "half an escape": ("/conversation/%e", 404),
    "very long": (f"/conversation/{'x' * 8000}", 404),
    "257 characters": (f"/conversation/{'x' * 257}", 404),
    "slashes": ("/conversation/a/b//c/../d", 404),
    "escaped slashes": ("/conversation/%2F%2e%2e%2Fetc", 404),
    "emoji": ("/conversation/%F0%9F%A6%84", 404),
    "a trailing slash": ("/conversations/", 404),
    "a query that is not UTF-8": ("/conversation/nope?x=%ff", 404),
    "an unknown place": ("/wp-login.php", 404),
}


def must_be_refused(response: Any, *statuses: int) -> None:
    """In the shape of every error, readable from the origin that asked."""
    assert response.status_code in statuses, (response.status_code, response.content[:500])
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)
    body = response.json()
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert body["errors"]
    assert all(isinstance(error, str) for error in body["errors"])
    assert len(response.content) < 60_000


@pytest.fixture
def send(db: None) -> Callable[..., Any]:
    """Alice, who has a conversation c1, sends a request from a browser."""
    known_key()
    alice = auth("alice")
    build.exchange(build.conversation(User.objects.get(username="alice"), "c1"), "hello")
    client = Client(raise_request_exception=False)

    def request(method: str, path: str, body: bytes = b"", *, kind: str = "application/json", **headers: Any) -> Any:
        return client.generic(method, path, body, content_type=kind, **{"HTTP_ORIGIN": ORIGIN, **alice, **headers})

    return request


@pytest.mark.parametrize("name", BODIES)
def test_a_turn_that_cannot_be_is_refused(send: Callable[..., Any], name: str) -> None:
    must_be_refused(send("POST", "/conversation", BODIES[name]), 400)


@pytest.mark.parametrize("name", TITLES)
def test_a_title_that_cannot_be_is_refused(send: Callable[..., Any], name: str) -> None:
    must_be_refused(send("PATCH", "/conversation/c1/title", TITLES[name]), 400)


@pytest.mark.parametrize("title", ["x", " x ", ".", "👍", "|", "0", "　あ　", "\u200bx", "x" * 1000])
def test_a_title_that_shows_anything_is_kept_as_it_is(send: Callable[..., Any], title: str) -> None:
    assert send("PATCH", "/conversation/c1/title", json.dumps({"newTitle": title}).encode()).status_code == 200
    assert send("GET", "/conversation/c1").json()["title"] == title


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.both
def test_a_strange_address_is_refused(send: Callable[..., Any], name: str) -> None:
    path, status = PATHS[name]
    must_be_refused(send("GET", path), status)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "text/html",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "x",
        ";",
    ],
)
def test_a_body_that_is_not_declared_as_json_is_a_415(send: Callable[..., Any], kind: str) -> None:
    must_be_refused(send("POST", "/conversation", turn(), kind=kind), 415)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/conversation"),
        ("PATCH", "/conversation/c1/title"),
        ("PUT", "/conversation/c1/system/feedback"),
        ("POST", "/conversations/bulk-delete"),
        ("POST", "/conversation/c1/q1/stop"),
        ("POST", "/console/login/"),
    ],
)
def test_a_compressed_body_is_a_415_on_every_route(send: Callable[..., Any], method: str, path: str) -> None:
    answer = send(method, path, gzip.compress(b"{}"), HTTP_CONTENT_ENCODING="gzip")
    assert answer.status_code == 415
    assert "gzip" in answer.json()["detail"]


@pytest.mark.parametrize("parameter", ["charset=utf-16", "charset=nonsense", ";;"])
def test_the_charset_of_json_is_utf_8_whatever_is_said(send: Callable[..., Any], parameter: str) -> None:
    must_be_refused(send("POST", "/conversation", b"{}", kind=f"application/json; {parameter}"), 400)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*;q=0", "nonsense", "", ";;,,/", "*/*;q=x"])
def test_accept_never_ends_in_a_406(send: Callable[..., Any], accept: str) -> None:
    answer = send("GET", "/conversations", HTTP_ACCEPT=accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    must_be_refused(send("GET", "/conversation/nope", HTTP_ACCEPT=accept), 404)


def test_snake_case_is_answered_to_who_asks_for_it(send: Callable[..., Any]) -> None:
    answer = send("GET", "/conversation/c1", HTTP_ACCEPT="application/json; case=snake")
    assert {"create_time", "message_map", "last_message_id"} <= answer.json().keys()
    must_be_refused(send("GET", "/conversation/nope", HTTP_ACCEPT="application/json; case=snake"), 404)


@pytest.mark.parametrize(
    "header",
    [
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Bearer \xff\xfe",
        "Bearer a b c",
        "Basic YTpi",
        "Bearer " + "x" * 100_000,
        "Bearer ..",
        "Bearer e30.e30.e30",
        "\x00",
    ],
)
def test_an_authorization_that_is_none_is_a_401(send: Callable[..., Any], header: str) -> None:
    answer = send("GET", "/conversations", HTTP_AUTHORIZATION=header)
    must_be_refused(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("host", ["evil host", "a_b/c", "[::1", "host:port", "\xff"])
def test_a_host_that_is_none_is_refused(send: Callable[..., Any], host: str) -> None:
    must_be_refused(send("GET", "/conversations", HTTP_HOST=host), 400)


ELSEWHERE = ["/conversations", "/conversation/health", "/health/", "/healthy", "/config/global", "/docs"]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_host_of_somebody_else_is_refused(send: Callable[..., Any], settings: Any, path: str) -> None:
    settings.ALLOWED_HOSTS = ["chat.example.com"]
    must_be_refused(send("GET", path, HTTP_HOST="evil.example.com"), 400)


@pytest.mark.parametrize("host", ["10.0.3.7", "10.0.3.7:8000", "[fd00::7]:8000", "evil.example.com", "a_b/c", "[::1"])
@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes_are_answered_whatever_the_host(
    send: Callable[..., Any], settings: Any, method: str, path: str, host: str
) -> None:
    """A load balancer or a kubelet asks by the address of this process."""
    settings.ALLOWED_HOSTS = ["chat.example.com"]
    assert send(method, path, HTTP_HOST=host).status_code == 200


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "PUT", "X" * 1000])
@pytest.mark.parametrize("path", ["/conversations", "/conversation/c1", "/health"])
def test_a_method_that_a_route_has_not_is_a_405(send: Callable[..., Any], method: str, path: str) -> None:
    answer = send(method, path)
    must_be_refused(answer, 405)
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/conversations", "/conversation/c1", "/health"])
def test_head_says_what_get_says_without_the_body(send: Callable[..., Any], path: str) -> None:
    answer = send("HEAD", path)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/conversation", "/conversations", "/conversation/c1/title", "/health"])
def test_options_needs_no_token(db: None, path: str) -> None:
    plain = Client().options(path, HTTP_ORIGIN=ORIGIN)
    assert plain.status_code in (200, 204)
    assert plain.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)
    preflight = Client().options(
        path,
        HTTP_ORIGIN=ORIGIN,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="PATCH",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization,content-type",
    )
    assert preflight.status_code in (200, 204)
    assert {"authorization", "content-type"} <= set(preflight.headers["Access-Control-Allow-Headers"].split(", "))
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(
        preflight.headers["Access-Control-Allow-Methods"].split(", ")
    )
    assert int(preflight.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "conversation",
    [
        "a/b//c",
        "title/a",
        "../..",
        "привет",
        "🦄",
        "x" * 256,
        "%2F",
        "a?b#c",
        " ",
        "'; DROP TABLE x --",
        "\u2028\u202e\ufeff",
    ],
)
def test_an_id_may_hold_anything_else(emulator: Any, send: Callable[..., Any], conversation: str) -> None:
    assert send("POST", "/conversation", turn(conversation=conversation)).status_code == 200
    listed = {entry["id"] for entry in send("GET", "/conversations").json()}
    assert conversation in listed

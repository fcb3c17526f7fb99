"""What request bodies may be. Nothing a client sends is a 5xx."""

from typing import Any

import pytest
from django.test import Client

from bedrock_chat.wire.parsers import DEEPEST


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + closing * depth).encode()


def echo(client: Client, body: bytes, content_type: str = "application/json", **extra: Any) -> Any:
    return client.generic("POST", "/echo", body, content_type=content_type, **extra)


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b'{"a": 1', "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b"not json", "not valid JSON"),
        (b'{"a": "\xff\xfe"}', "UTF-8"),
        ('{"a": "é"}'.encode("utf-16"), "not valid JSON"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": "\\udc00"}', "surrogate"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a": [{"b": "x\\u0000y"}]}', "NUL"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'{"a": "\x00"}', "control character"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": -Infinity}', "not valid JSON"),
        (b'{"a": 1e999}', "infinity"),
        (b'{"a": ' + b"9" * 400 + b"}", "infinity"),
        (nested(DEEPEST + 1), "deep"),
        (nested(1000), "deep"),
        (nested(100_000), "depth"),
        (b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1), "deep"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
    ],
)
def test_a_body_that_is_not_sound_json_is_a_400_that_says_why(client: Client, body: bytes, hint: str) -> None:
    response = echo(client, body)
    assert response.status_code == 400
    assert hint in response.json()["detail"]
    assert response.json()["errors"] == [response.json()["detail"]]


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"botId": "b", "message_id": "m"}', {"bot_id": "b", "message_id": "m"}),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        ('{"a": "😀 é"}'.encode(), {"a": "😀 é"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        (b"[1, 2]", [1, 2]),
        (b'"text"', "text"),
        (b"null", None),
        (b'{"a": 123456789012345678901234567890}', {"a": 1.2345678901234568e29}),
        (nested(DEEPEST), None),
    ],
)
def test_sound_json_arrives_in_snake_case(client: Client, body: bytes, read: Any) -> None:
    response = echo(client, body)
    assert response.status_code == 200, response.content
    if read is not None:
        assert response.json()["got"] == read


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/json; charset=hex", 200),
        ("application/json; charset=latin-1", 200),
        ("application/merge-patch+json", 200),
        ("application/vnd.example.v2+json; q=1", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonx", 415),
        ("text/json+json", 415),
        ("", 415),
        ("nonsense", 415),
        (";;;", 415),
    ],
)
def test_json_is_taken_under_its_own_names_and_nothing_else_is(client: Client, content_type: str, status: int) -> None:
    response = echo(client, '{"a": "é"}'.encode(), content_type)
    assert response.status_code == status
    if status == 200:
        assert response.json() == {"got": {"a": "é"}}
    else:
        assert "Unsupported media type" in response.json()["detail"]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_an_empty_body_is_an_empty_object(client: Client, content_type: str) -> None:
    assert echo(client, b"", content_type).json() == {"got": {}}

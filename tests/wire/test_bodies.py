"""What request bodies may be. Nothing a client sends is a 5xx."""

from typing import Any

import orjson
import pytest
from django.test import Client
from hypothesis import given, strategies

from bedrock_chat.wire import parsers
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.parsers import DEEPEST, parse


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


# ---- Few values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 99_998 + b"1]",
        b"[" + b"[]," * 49_999 + b"[]]",
        b'{"a":[' + b"{}," * 49_998 + b"{}]}",
        b'["' + b"[{,".ljust(4_000_000, b",") + b'"]',
        b'["' + b'\\"[{,\\\\'.ljust(400_000, b",") * 2 + b'"]',
    ],
)
def test_a_body_of_100_000_values_passes_and_strings_may_hold_any_number_of_brackets(body: bytes) -> None:
    parse(body)


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        (b"[" + b"1," * 100_000 + b"1]", "more than 100000 values"),
        (b"[" + b"[]," * 50_000 + b"[]]", "more than 100000 values"),
        (b'["[' + b",{" * 100 + b'",' + b"1," * 100_000 + b"1]", "more than 100000 values"),
        (b'["\\\\",' + b"1," * 100_000 + b"1]", "more than 100000 values"),
        (b'["\\"",' + b"1," * 100_000 + b"1]", "more than 100000 values"),
        (b"{" + b'"":"",' * 100_001 + b"}", "more than 200000 strings"),
        (b'["' + "é".encode() * (8 * 1024 * 1024 + 1) + b'"]', "A text in the body has more than 16777216 bytes"),
        (b'["' + b"a" * 16 * 1024 * 1024 + b'\\ud83d\\ude00"]', "A text in the body has more than 16777216 bytes"),
        (b'["' + b"\\n" * (16 * 1024 * 1024 + 1) + b'"]', "more than 16777216 backslashes"),
    ],
)
def test_a_body_of_more_values_is_refused_unparsed(body: bytes, hint: str) -> None:
    with pytest.raises(BadRequest, match=hint):
        parse(body)


VALUES = strategies.recursive(
    strategies.text('"\\[{,é\n', max_size=8) | strategies.none() | strategies.booleans(),
    lambda inner: (
        strategies.lists(inner, max_size=5)
        | strategies.dictionaries(strategies.text('"\\[{,x', max_size=4), inner, max_size=5)
    ),
    max_leaves=20,
)


def structure(value: Any) -> int:
    """Brackets, braces and commas that stand outside of the strings of a value's JSON."""
    if isinstance(value, list | dict):
        items = list(value.values()) if isinstance(value, dict) else value
        return 1 + max(0, len(items) - 1) + sum(map(structure, items))
    return 0


def is_accepted(raw: bytes) -> bool:
    try:
        parse(raw)
    except BadRequest:
        return False
    return True


@given(VALUES, strategies.integers(1, 7))
def test_what_stands_in_strings_does_not_count_wherever_pieces_are_cut(value: Any, piece: int) -> None:
    count = structure(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsers, "PIECE", piece)
        patch.setattr(parsers, "MOST_STRUCTURE", count)
        assert is_accepted(orjson.dumps(value))
        patch.setattr(parsers, "MOST_STRUCTURE", count - 1)
        assert not is_accepted(orjson.dumps(value))


@given(strategies.binary(max_size=40).map(lambda raw: bytes(b",a["[byte % 3] for byte in raw)))
def test_a_byte_is_counted_alike_whether_it_is_rare_or_common(raw: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsers, "PIECE", 0)
        patch.setattr(parsers, "FEW", 3)
        assert parsers._count(raw, b",") == raw.count(b",")

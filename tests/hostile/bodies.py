"""Hostile request bodies: for every route of the OpenAPI document that takes a body, and for the socket.

A body is hostile as a whole (JSON of many values, deep, never ending), or it is a valid body of its route in which one
field has a hostile value. New routes and new fields join by being in the document.
"""

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from tests import build
from tests.pictures import picture


@dataclass(frozen=True, slots=True)
class Attack:
    """A request: `name` says what is hostile in it. Its body is bytes, or a value that becomes JSON when it is read."""

    name: str
    method: str
    path: str
    content: Any
    content_type: str = "application/json"

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


def whole(size: int) -> Iterator[tuple[str, bytes]]:
    """Bodies of about `size` bytes that are hostile whatever the route is."""
    yield "lists", b"[" + b"[]," * (size // 3) + b"[]]"
    yield "objects", b"[" + b"{}," * (size // 3) + b"{}]"
    yield "numbers", b"[" + b"1," * (size // 2) + b"1]"
    yield "strings", b"[" + b'"",' * (size // 3) + b'""]'
    yield "names", b"{" + b",".join(b'"%x":1' % number for number in range(size // 9)) + b"}"
    yield "one name again and again", b"{" + b'"a":1,' * (size // 6) + b'"a":1}'
    yield "commas", b"," * size
    yield "depth", b"[" * size
    yield "depth of objects", b'{"a":' * (size // 5)
    yield "depth that ends", b"[" * (size // 2) + b"]" * (size // 2)
    yield "quotes", b'"' * size
    yield "quotes and commas", b'",' * (size // 2)
    yield "a string without an end", b'{"a":"' + b"a" * size
    yield "backslashes", b'"' + b"\\" * size
    yield "escaped backslashes and quotes", b'{"a":"' + b'\\\\\\"' * (size // 4) + b'"}'
    yield "escapes", b'{"a":"' + b"\\u00e9" * (size // 6) + b'"}'
    yield "escapes of NUL", b'{"a":"' + b"\\u0000" * (size // 6) + b'"}'
    yield "escaped surrogates", b'{"a":"' + b"\\ud83d\\ude00" * (size // 12) + b'"}'
    yield "emoji", b'{"a":"' + "😀".encode() * (size // 4) + b'"}'
    yield "one emoji", b'{"a":"' + "😀".encode() + b"a" * size + b'"}'
    yield "a long name", b'{"' + b"a" * size + b'":1}'
    yield "a long name of capitals", b'{"' + b"aB" * (size // 2) + b'":1}'
    yield "many long names", b"{" + b",".join(b'"%s%d":1' % (b"aB" * 5000, n) for n in range(size // 10_010)) + b"}"
    yield "a long number", b"1" * size
    yield "a long fraction", b"0." + b"1" * size
    yield "long numbers", b"[" + (b"9" * 400 + b",") * (size // 401) + b"1]"
    yield "spaces", b"{" + b" " * size + b"}"
    yield "no UTF-8", b'{"a":"' + b"\xff" * size + b'"}'
    yield "zeros", bytes(size)


def values(size: int) -> Iterator[tuple[str, Any]]:
    """Values of about `size` bytes in JSON, for a field. The parser takes them: what they cost is the field's doing."""
    few = 90_000  # within the number of values that a body may have
    yield "long text", "a" * size
    yield "words", "word " * (size // 5)
    yield "different words", " ".join(f"{number:x}" for number in range(size // 7))
    yield "accents", "é́" * (size // 4)
    yield "emoji", "😀" * (size // 4)
    yield "marks", "<![&\"'" * (size // 7)
    yield "line ends", "\n" * (size // 2)
    yield "capitals", "ǅ" * (size // 2)
    yield "empty lists", [[]] * few
    yield "empty objects", [{}] * few
    yield "empty strings", [""] * few
    yield "long strings", ["a" * (size // 50)] * 50
    yield "one string", ["a" * size]
    yield "names", {f"{number:x}": None for number in range(few)}
    yield "deep", json.loads("[" * 60 + "]" * 60)
    yield "a number", 10**300


def contents(size: int) -> Iterator[tuple[str, Any]]:
    """Contents of a message: blocks that are nearly valid, or valid and large."""
    half = "a" * (size // 2)
    yield "a file of CSV", [text("a,b,c\n" * (size // 6))]
    yield "a file of JSON", [text('[{"a":[1,2]},' * (size // 13))]
    yield "blocks of nothing", [{}] * 90_000
    yield "64 blocks of nothing", [{}] * 64
    yield "64 texts", [text("a" * (size // 64))] * 64
    yield "64 texts of words", [text("word " * (size // 320))] * 64
    yield "unknown kinds", [{"contentType": "a" * (size // 64)}] * 64
    yield "results of nothing", [result([{}] * 1000)] * 60
    yield "results of 64 parts", [result([{"text": "a" * (size // 4096)}] * 64)] * 64
    yield "a large result", [result([{"text": half}, {"json": {"a": half}}])]
    yield "a large input", [tool_use({"a": "a" * size})]
    yield "an input of many values", [tool_use({"a": [1] * 90_000})]
    yield "an input of many names", [tool_use({f"aB{number}": 1 for number in range(90_000)})]
    yield "zeros as an image", [image(base64.b64encode(bytes(size * 3 // 4)).decode())]
    yield "no base64", [image("!" * size)]
    yield "base64 of emoji", [image("😀" * (size // 4))]
    yield "an image and more", [image(base64.b64encode(picture() + bytes(min(size, 3_900_000) * 3 // 4)).decode())]
    yield "a document", [document("a.pdf", size)]
    yield "five documents", [document(f"{number}.csv", size // 5) for number in range(5)]
    yield "a document of 64 names", [document("a." * 64 + "txt", size // 64)] * 64
    yield "a long file name", [document("a" * size + ".txt", 10)]
    yield "a long ending", [document("a." + "t" * size, 10)]
    yield "a long media type", [{**image("AAAA"), "mediaType": "image/" + "p" * size}]


def text(body: str) -> dict[str, Any]:
    return {"contentType": "text", "body": body}


def image(body: str) -> dict[str, Any]:
    return {"contentType": "image", "mediaType": "image/png", "body": body}


def document(name: str, size: int) -> dict[str, Any]:
    """A document of `size` bytes in base64."""
    return {"contentType": "attachment", "fileName": name, "body": base64.b64encode(b"x" * (size * 3 // 4)).decode()}


def tool_use(value: dict[str, Any]) -> dict[str, Any]:
    return {"contentType": "toolUse", "body": {"toolUseId": "t", "name": "n", "input": value}}


def result(parts: list[Any]) -> dict[str, Any]:
    return {"contentType": "toolResult", "body": {"toolUseId": "t", "status": "success", "content": parts}}


def turn(content: Any, **fields: Any) -> dict[str, Any]:
    """The body of a question. The bot that it names is nowhere, so that nothing is asked of a model."""
    message = {"content": content, "model": build.MODEL, "parentMessageId": None}
    return {"conversationId": "hostile", "botId": "nowhere", "message": message, **fields}


# ---- Routes ---------------------------------------------------------------------------------------------------------


def attacks(size: int) -> Iterator[Attack]:
    """Attacks on every route of the OpenAPI document that takes a body."""
    hostile = list(values(size))
    for method, path, schema in _routes():
        where = path.replace("{conversation_id}", "c1").replace("{message_id}", "q1")
        assert "{" not in where, f"Name a value for the parameters of {path} here."
        for name, body in whole(size):
            yield Attack(f"{method} {path}: {name}", method, where, body)
        for name, value in _with_hostile_fields(_example(schema), hostile):
            yield Attack(f"{method} {path}: {name}", method, where, value)
    for name, content in contents(size):
        yield Attack(f"POST /conversation: {name}", "POST", "/conversation", turn(content))


def forms(size: int) -> Iterator[Attack]:
    """Attacks on pages of the console, which take forms."""
    plain = "application/x-www-form-urlencoded"
    parts = 'multipart/form-data; boundary="x"'
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
    file = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
    bodies = [
        ("pairs", plain, b"a=1&" * (size // 4)),
        ("ampersands", plain, b"&" * size),
        ("equal signs", plain, b"=" * size),
        ("a long name", plain, b"a" * size),
        ("a long value", plain, b"username=" + b"a" * size),
        ("escapes", plain, b"username=" + b"%41" * (size // 3)),
        ("a long password", plain, b"username=alice&password=" + b"a" * size),
        ("parts", parts, (part + b"1\r\n") * (size // (len(part) + 3)) + b"--x--\r\n"),
        ("files", parts, (file + b"1\r\n") * (size // (len(file) + 3)) + b"--x--\r\n"),
        ("a long part", parts, part + b"a" * size + b"\r\n--x--\r\n"),
        ("a long file", parts, file + b"a" * size + b"\r\n--x--\r\n"),
        ("a part without an end", parts, part + b"a" * size),
        ("a long header", parts, b"--x\r\nContent-Disposition: " + b"a" * size + b"\r\n\r\n"),
        ("headers", parts, b"--x\r\n" + b"A: 1\r\n" * (size // 6) + b"\r\n"),
        ("boundaries", parts, b"--x\r\n" * (size // 5)),
    ]
    for name, kind, body in bodies:
        yield Attack(f"POST /console/login/: {name}", "POST", "/console/login/", body, kind)


def _routes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and body schema of the routes that take a body."""
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if content:
                reference: str = content["application/json"]["schema"]["$ref"]
                yield method.upper(), path, _resolved(document, reference)


def _resolved(document: dict[str, Any], reference: str) -> dict[str, Any]:
    """The schema of that name, with the schemas of its properties in their places, one level deep."""
    schema: dict[str, Any] = copy.deepcopy(document["components"]["schemas"][reference.rpartition("/")[2]])
    for name, inner in schema.get("properties", {}).items():
        if "$ref" in inner:
            schema["properties"][name] = _resolved(document, inner["$ref"])
    return schema


VALID: dict[str, Any] = {"content": [{"contentType": "text", "body": "hello"}], "botId": "nowhere"}
"""Values that the type of a field does not tell."""


def _example(schema: dict[str, Any]) -> dict[str, Any]:
    """A body of that schema which is accepted, so that one hostile field is all that is wrong with it."""
    kinds: dict[str, Any] = {"boolean": True, "integer": 1, "number": 1, "array": ["a"]}
    return {
        name: _example(inner)
        if "properties" in inner
        else VALID.get(name) or inner.get("enum", [None])[0] or kinds.get(str(inner.get("type")), "a")
        for name, inner in schema.get("properties", {}).items()
    }


def _with_hostile_fields(
    example: dict[str, Any], hostile: list[tuple[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The example with one field hostile, for each field and value."""
    for field, inner in example.items():
        for name, value in hostile:
            yield f"{name} as {field}", {**example, field: value}
        if isinstance(inner, dict):
            for name, body in _with_hostile_fields(inner, hostile):
                yield f"{name} of {field}", {**example, field: body}

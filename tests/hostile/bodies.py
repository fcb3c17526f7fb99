"""Hostile request bodies: JSON that is hostile as a whole, values for one field, contents of messages, forms."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.pictures import picture

MODEL = "claude-v4.5-sonnet"


@dataclass(frozen=True, slots=True)
class Attack:
    """A request: `name` says what is hostile in it. Its body is bytes, a value that becomes JSON when it is read, or a
    function that makes the bytes then.
    """

    name: str
    method: str
    path: str
    content: Any
    content_type: str = "application/json"

    @property
    def body(self) -> bytes:
        if callable(self.content):
            made: bytes = self.content()
            return made
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
    message = {"content": content, "model": MODEL, "parentMessageId": None}
    return {"conversationId": "hostile", "botId": "nowhere", "message": message, **fields}


def turns(size: int) -> Iterator[Attack]:
    """Questions whose content is hostile."""
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

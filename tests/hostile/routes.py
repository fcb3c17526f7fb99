"""Attacks on every route of the OpenAPI document that takes a body.

A body is hostile as a whole, or it is a valid body of its route in which one field has a hostile value. New routes and
new fields join by being in the document.
"""

import copy
from collections.abc import Iterator
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from tests.hostile import bodies
from tests.hostile.bodies import Attack

NAMED = {
    "{conversation_id}": "c1",
    "{message_id}": "q1",
    "{bot_id}": "b1",
    "{version}": "1",
    "{stage}": "api",
    "{api_key_id}": "k1",
    "{digest}": "0",
}
"""Parameters of paths, each with a value."""


def attacks(size: int) -> Iterator[Attack]:
    """Attacks on every route of the OpenAPI document that takes a body."""
    hostile = list(bodies.values(size))
    for method, path, schema in _routes():
        where = path
        for name, value in NAMED.items():
            where = where.replace(name, value)
        assert "{" not in where, f"Name a value for the parameters of {path} here."
        for name, body in bodies.whole(size):
            yield Attack(f"{method} {path}: {name}", method, where, body)
        for name, value in _with_hostile_fields(_example(schema), hostile):
            yield Attack(f"{method} {path}: {name}", method, where, value)
    yield from bodies.turns(size)


def _routes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and body schema of the routes that take a body, once for each shape that the body may have."""
    document: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:  # else it is a file
                whole = _dereferenced(document, content["application/json"]["schema"])
                for shape in whole.get("oneOf", [whole]):
                    yield method.upper(), path, _resolved(document, shape)


def _dereferenced(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference names, alone or as the one of `allOf`; any other schema as it is."""
    inner = schema["allOf"][0] if len(schema.get("allOf", ())) == 1 else schema
    if "$ref" not in inner:
        return inner
    named: dict[str, Any] = document["components"]["schemas"][inner["$ref"].rpartition("/")[2]]
    return named


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with those of its properties in their places. Of several shapes a property gets the first."""
    resolved = copy.deepcopy(_dereferenced(document, schema))
    if "oneOf" in resolved:
        return _resolved(document, resolved["oneOf"][0])
    for name, inner in resolved.get("properties", {}).items():
        resolved["properties"][name] = _resolved(document, inner)
    return resolved


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

"""Inputs held against a tool's schema, and schemas that would fail a whole request.

A check of our own, of the top level alone. A complete validator does what a foreign schema says: it fetches addresses,
and patterns and references can make it run for ever. What lies deeper is the tool's own to check.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bots.tools import names
from bots.tools.tool import Tool

MOST_BYTES: Final = 256 * 1024
DEEPEST: Final = 32
"""Levels of objects and lists; the input itself is the first."""
MOST_NAMED: Final = 5
ROOT_COMBINATORS: Final = ("oneOf", "anyOf", "allOf")
_TYPES: Final[Mapping[str, tuple[str, tuple[type, ...]]]] = {
    "string": ("a string", (str,)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "object": ("an object", (dict,)),
    "array": ("a list", (list,)),
    "null": ("null", (type(None),)),
}
_PROPERTY: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def check_input(tool: Tool, value: Any) -> str | None:
    """What is wrong with an input, as a sentence for the model that made it; None where nothing is.

    Looked at are: that it fits (`check_fit`); that what is required is there; and the types of what the schema names.
    """
    return check_fit(value) or _of_properties(tool.schema, value)


def check_fit(value: Any) -> str | None:
    """What makes an input one that no tool gets, whatever its schema: that it is no object, or one that cannot be
    stored and sent back, or not one of at most MOST_BYTES as JSON and DEEPEST levels.
    """
    if not isinstance(value, dict):
        return "The input must be a JSON object."
    if _is_deeper(value, DEEPEST):
        return f"The input is nested more than {DEEPEST} levels deep."
    try:
        size = len(orjson.dumps(value))
        json.dumps(value, allow_nan=False)  # Python reads NaN and Infinity, which neither Bedrock nor PostgreSQL takes
    except (TypeError, ValueError):
        return "The input is not JSON."
    return f"The input is larger than {MOST_BYTES // 1024} KB." if size > MOST_BYTES else None


def _of_properties(schema: Mapping[str, Any], value: Mapping[str, Any]) -> str | None:
    required = schema.get("required")
    if isinstance(required, list):
        missing = [name for name in required if isinstance(name, str) and name not in value]
        if missing:
            return f"The input lacks {_listed(missing)}."
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return None
    if schema.get("additionalProperties") is False and (foreign := [name for name in value if name not in properties]):
        return f"The input has {_listed(foreign)}, which the tool does not know."
    for name, inner in value.items():
        expected = properties[name].get("type") if isinstance(properties.get(name), Mapping) else None
        types = [expected] if isinstance(expected, str) else expected if isinstance(expected, list) else []
        known = [_TYPES[word] for word in types if isinstance(word, str) and word in _TYPES]
        if known and len(known) == len(types) and not any(_is_of(inner, kinds) for _, kinds in known):
            return f"The input's {_shown(name)} must be {' or '.join(words for words, _ in known)}."
    return None


def _is_of(value: Any, types: tuple[type, ...]) -> bool:
    """As JSON counts: true is no number, and 2.0 is a whole one."""
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (types == (int,) and isinstance(value, float) and value.is_integer())


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects nest more than so many levels, without recursion."""
    level: list[Any] = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def why_refused(schema: Mapping[str, Any]) -> str | None:
    """Why models would refuse a whole request that has this schema, without a subject; None if they would not."""
    if schema.get("type") != "object":
        return "has a schema that is not of the type object"
    if combinators := [word for word in ROOT_COMBINATORS if word in schema]:
        return f"has {combinators[0]} at the root of its schema, which models refuse"
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        return "has a schema whose properties are no object"
    for name in properties:
        if not 0 < len(name) <= names.LONGEST or not _PROPERTY.issuperset(name):
            return f"has a property named {_shown(name)}, which models refuse"
    if _is_deeper(dict(schema), DEEPEST):
        return f"has a schema of more than {DEEPEST} levels"
    if '"$ref":' in orjson.dumps(schema).decode():
        return "has references in its schema, which models refuse"
    return None


def _listed(properties: list[str]) -> str:
    shown = ", ".join(_shown(name) for name in properties[:MOST_NAMED])
    return shown if len(properties) <= MOST_NAMED else f"{shown} and {len(properties) - MOST_NAMED} more"


def _shown(name: str) -> str:
    return f"“{name[: names.LONGEST]}”"

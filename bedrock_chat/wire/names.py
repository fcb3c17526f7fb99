"""Names: camelCase on the wire, snake_case inside. Keys that are data are never renamed, in either direction."""

import re
from functools import lru_cache
from typing import Any

KEYED_BY_DATA = frozenset({"messageMap", "message_map"})
"""Objects whose keys are ids: the keys stay, their values are renamed."""

OPAQUE = frozenset({"input", "json"})
"""A tool's input and a tool's JSON result: nothing inside is ours."""

LONGEST = 64
"""Characters. No name of ours is longer. A longer one from a client stays as it is, and never fills the caches."""

_NESTED = (dict, list)

_HUMP = re.compile(r"(?<=[a-z0-9])[A-Z]")
_SCORE = re.compile(r"(?<=[A-Za-z0-9])_([a-z0-9])")


@lru_cache(maxsize=4096)
def _snake(name: str) -> str:
    return _HUMP.sub(lambda hump: "_" + hump[0].lower(), name) if name[:1].islower() else name


@lru_cache(maxsize=4096)
def _camel(name: str) -> str:
    return _SCORE.sub(lambda score: score[1].upper(), name) if name[:1].islower() else name


def snake(name: str) -> str:
    """`botId` → `bot_id`. Names that begin with a capital, a digit or `_` are not camelCase, and stay."""
    return _snake(name) if len(name) <= LONGEST else name


def camel(name: str) -> str:
    """`bot_id` → `botId`, `claude_v4_5` → `claudeV45`; `camel(snake(name)) == name` for every name on the wire."""
    return _camel(name) if len(name) <= LONGEST else name


def to_snake(data: Any) -> Any:
    """Parsed JSON with snake_case names. Where an object has both spellings of a name, camelCase wins.

    Recurses once per level: the parser has bounded the depth of what clients send.
    """
    if isinstance(data, list):
        return [to_snake(item) if isinstance(item, _NESTED) else item for item in data]
    if not isinstance(data, dict):
        return data
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        name = snake(key)
        if name in renamed and name == key:
            continue  # this is the snake_case spelling of a name that is there already
        renamed[name] = _value(key, value) if isinstance(value, _NESTED) else value
    return renamed


def _value(key: str, value: Any) -> Any:
    """An object or a list with its names in snake_case, unless they are data."""
    if key in OPAQUE:
        return value
    if key in KEYED_BY_DATA and isinstance(value, dict):
        return {name: to_snake(inner) for name, inner in value.items()}
    return to_snake(value)

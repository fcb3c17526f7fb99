"""Names: camelCase on the wire, snake_case inside. Keys that are data are never renamed, in either direction."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

KEYED_BY_DATA = frozenset({"messageMap", "message_map"})
"""Objects whose keys are ids: the keys stay, their values are renamed."""

OPAQUE = frozenset({"input", "json"})
"""A tool's input and a tool's JSON result: nothing inside is ours."""

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_SCORE = re.compile(r"(?<=[A-Za-z0-9])_([a-z])")


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    return _HUMP.sub(lambda hump: "_" + hump[1].lower(), name) if name[:1].islower() else name


@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    return _SCORE.sub(lambda score: score[1].upper(), name)


def to_snake(data: Any) -> Any:
    """A parsed request body with snake_case names. Where both spellings are given, camelCase wins."""
    return _renamed(data, snake)


def to_camel(data: Any) -> Any:
    return _renamed(data, camel)


def _renamed(data: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(data, list):
        return [_renamed(item, rename) for item in data]
    if not isinstance(data, dict):
        return data
    renamed: dict[str, Any] = {}
    for key, value in data.items():
        name = rename(key)
        if name == key and name in renamed and rename is snake:
            continue  # the camelCase spelling came first and wins
        renamed[name] = _value(key, value, rename)
    return renamed


def _value(key: str, value: Any, rename: Callable[[str], str]) -> Any:
    if key in OPAQUE and isinstance(value, dict):
        return value
    if key in KEYED_BY_DATA and isinstance(value, dict):
        return {name: _renamed(inner, rename) for name, inner in value.items()}
    return _renamed(value, rename)

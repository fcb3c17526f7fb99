"""Checks a request's JSON against botocore's service model: types, required members, unions, limits, patterns.

boto3 checks little of this before it sends a request; Bedrock checks all of it.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.loaders import create_loader

from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid

Shape = Mapping[str, Any]

_TYPES: dict[str, tuple[Any, str]] = {
    "structure": (dict, "an object"),
    "map": (dict, "an object"),
    "list": (list, "a list"),
    "string": (str, "a string"),
    "blob": (str, "a base64 string"),
    "boolean": (bool, "a boolean"),
    "integer": (int, "an integer"),
    "long": (int, "an integer"),
    "float": ((int, float), "a number"),
    "double": ((int, float), "a number"),
}


def check(operation: str, body: Any, service: str = "bedrock-runtime") -> None:
    """Raises Refusal: SerializationException for a wrong type, ValidationException for all wrong members."""
    shapes = _model(service)["shapes"]
    name = _model(service)["operations"][operation]["input"]["shape"]
    if errors := list(_errors(shapes, shapes[name], body, "", at_top=True)):
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''} detected"
        raise invalid(f"{count}: {'; '.join(errors)}")


@cache
def _model(service: str) -> Mapping[str, Any]:
    model: Mapping[str, Any] = create_loader().load_service_model(service, "service-2")
    return model


def _errors(shapes: Mapping[str, Shape], shape: Shape, value: Any, path: str, *, at_top: bool = False) -> Iterator[str]:
    """A sentence for each member that breaks its shape. Raises Refusal for a wrong type or an unknown member."""
    if shape.get("document"):
        return
    kind = shape["type"]
    expected, article = _TYPES[kind]
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean"):
        raise Refusal("SerializationException", f"{path or 'The body'} must be {article}.")
    if kind == "structure":
        yield from _structure(shapes, shape, value, path, at_top=at_top)
    elif kind == "list":
        yield from _size(shape, len(value), path)
        member = shapes[shape["member"]["shape"]]
        for number, item in enumerate(value, 1):
            yield from _errors(shapes, member, item, f"{path}.{number}.member")
    elif kind == "map":
        yield from _size(shape, len(value), path)
        for key, item in value.items():
            yield from _errors(shapes, shapes[shape["key"]["shape"]], key, f"{path}.{key}")
            yield from _errors(shapes, shapes[shape["value"]["shape"]], item, f"{path}.{key}")
    elif kind == "string":
        yield from _string(shape, value, path)
    elif kind == "blob":
        yield from _size(shape, _decoded_size(value, path), path)
    elif kind != "boolean":
        yield from _range(shape, value, path)


def _structure(
    shapes: Mapping[str, Shape], shape: Shape, value: Mapping[str, Any], path: str, *, at_top: bool
) -> Iterator[str]:
    members = shape["members"]
    inner = f"{path}." if path else ""
    present = {name: item for name, item in value.items() if item is not None}
    for name in shape.get("required", ()):
        # A member that stands in the address, such as modelId, is not part of the body.
        if name not in present and not (at_top and "location" in members[name]):
            yield _failed("null", f"{inner}{name}", "Member must not be null")
    for name, item in present.items():
        if name not in members or "location" in members[name]:
            raise invalid(
                f"Malformed input request: #/{path.replace('.', '/')}: extraneous key [{name}] is not permitted, "
                "please reformat your input and try again."
            )
        yield from _errors(shapes, shapes[members[name]["shape"]], item, f"{inner}{name}")
    if shape.get("union") and len(present) != 1:
        yield _failed(str(sorted(present)), path, f"Member must have exactly one of [{', '.join(sorted(members))}]")


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    yield from _size(shape, len(value), path)
    if (allowed := shape.get("enum")) and value not in allowed:
        yield _failed(value, path, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    if (pattern := shape.get("pattern")) and not _compiled(pattern).fullmatch(value):
        yield _failed(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _size(shape: Shape, size: int, path: str) -> Iterator[str]:
    if size < shape.get("min", 0):
        yield _failed("", path, f"Member must have length greater than or equal to {shape['min']}")
    if size > shape.get("max", size):
        yield _failed("", path, f"Member must have length less than or equal to {shape['max']}")


def _range(shape: Shape, value: float, path: str) -> Iterator[str]:
    if value < shape.get("min", value):
        yield _failed(str(value), path, f"Member must have value greater than or equal to {shape['min']}")
    if value > shape.get("max", value):
        yield _failed(str(value), path, f"Member must have value less than or equal to {shape['max']}")


def _decoded_size(value: str, path: str) -> int:
    try:
        return len(binascii.a2b_base64(value, strict_mode=True)) if value else 0
    except ValueError:
        raise Refusal("SerializationException", f"{path} is not base64.") from None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _failed(value: str, path: str, constraint: str) -> str:
    shown = f"Value '{value[:60]}' at" if value else "Value at"
    return f"{shown} '{path}' failed to satisfy constraint: {constraint}"

"""Request bodies: strict JSON, in either spelling of names."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.parsers import BaseParser

from bedrock_chat.database.text import is_storable
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.names import to_snake

DEEPEST = 64


class WireParser(BaseParser):
    """JSON as UTF-8, without NUL characters, lone surrogates, NaN or unreasonable depth; any of these is a 400."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return parse(stream.read())


def parse(raw: bytes) -> Any:
    """The value of a JSON text, with snake_case names. An empty text is an empty object. Raises BadRequest."""
    if not raw:
        return {}
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None
    _refuse_depth(data)
    # Databases and models accept no NUL. In JSON it must be escaped, so only a body with this escape is searched.
    if b"\\u0000" in raw and not _is_storable(data):
        raise BadRequest("The body holds a NUL character.")
    return to_snake(data)


def _refuse_depth(data: Any) -> None:
    """Raises BadRequest. Walks level by level, so that depth needs no stack. `orjson` itself stops at 1,024 levels."""
    level, depth = [data] if isinstance(data, dict | list) else [], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise BadRequest(f"The body is nested more than {DEEPEST} levels deep.")
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]


def _is_storable(data: Any) -> bool:
    if isinstance(data, str):
        return is_storable(data)
    if isinstance(data, list):
        return all(map(_is_storable, data))
    if isinstance(data, dict):
        return all(map(is_storable, data)) and all(map(_is_storable, data.values()))
    return True

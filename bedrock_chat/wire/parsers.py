"""Request bodies: strict JSON, in either spelling of names."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.parsers import BaseParser

from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.names import to_snake

DEEPEST = 64


class WireParser(BaseParser):
    """JSON as UTF-8, without NUL characters, lone surrogates, NaN or unreasonable depth; any of these is a 400."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw: bytes = stream.read()
        if not raw:
            return {}
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"The body is not valid JSON: {error.msg}.") from None
        _check(data, nul=b"\\u0000" in raw)
        return to_snake(data)


def _check(data: Any, *, nul: bool) -> None:
    """Refuses what neither database nor model could take. Walks level by level, so that depth costs no stack."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise BadRequest(f"The body is nested more than {DEEPEST} levels deep.")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if nul and any("\0" in key for key in item):
                    raise BadRequest("The body holds a NUL character.")
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif nul and isinstance(item, str) and "\0" in item:
                raise BadRequest("The body holds a NUL character.")
            elif isinstance(item, float) and item in (float("inf"), float("-inf")):
                raise BadRequest("The body holds a number that is too large.")
        level = below

"""Response bodies: JSON, camelCase as it was built, or snake_case for who asks for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from bedrock_chat.wire.names import to_snake


class WireRenderer(BaseRenderer):
    """`Accept: application/json; case=snake` answers in snake_case; keys that are data stay as they are."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        request = (renderer_context or {}).get("request")
        if request is not None and wants_snake(request.META.get("HTTP_ACCEPT", "")):
            data = to_snake(data)
        return orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS)


def wants_snake(accept: str) -> bool:
    return "case=snake" in accept.lower().replace(" ", "").replace('"', "")


class Negotiation(DefaultContentNegotiation):
    """Never a 406: a client that accepts none of our formats gets the first one, which is JSON."""

    def select_renderer(
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        accepted = request.META.get("HTTP_ACCEPT", "*/*").lower()
        for renderer in renderers[1:]:
            if renderer.media_type in accepted:
                return renderer, renderer.media_type
        return renderers[0], renderers[0].media_type

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:
        """JSON under its own name or a vendor's (`application/vnd.example+json`); anything else is a 415."""
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
        return parsers[0] if is_json else None

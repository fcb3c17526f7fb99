"""Response bodies: JSON in camelCase, as it was built, or in snake_case for a client that asks for it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from django.http.request import MediaType
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from bedrock_chat.wire.names import to_snake

JSON = "application/json"
LONGEST_REMEMBERED = 300
"""Characters of an Accept header whose choice is remembered; a browser's own has some 130."""


class WireRenderer(BaseRenderer):
    """`Accept: application/json; case=snake` answers in snake_case; keys that are data stay as they are.

    A view that has nothing to say returns `Response(None)`: the body is `null`.
    """

    media_type = JSON
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        request = (renderer_context or {}).get("request")
        if isinstance(renderer_context, dict):
            renderer_context.pop("response", None)  # a reference cycle of DRF's (see `views.WireViewSet`)
        if request is not None and wants_snake(request.META.get("HTTP_ACCEPT", "")):
            data = to_snake(data)
        return dumps(data)


def dumps(data: Any) -> bytes:
    try:
        return orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # A model's tool input may hold what orjson refuses: integers over 64 bits, lone surrogates.
        return json.dumps(data).encode()


def wants_snake(accept: str) -> bool:
    return "case=snake" in accept.lower().replace(" ", "").replace('"', "")


class Negotiation(DefaultContentNegotiation):
    """Never a 406: a client that accepts none of a view's formats gets the first one, which is JSON."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        candidates = tuple(renderers)
        renderer = candidates[0]
        if len(candidates) > 1:
            accept, media_types = (
                request.META.get("HTTP_ACCEPT", "*/*"),
                tuple(candidate.media_type for candidate in candidates),
            )
            choose = _preferred if len(accept) <= LONGEST_REMEMBERED else _preferred.__wrapped__
            renderer = candidates[choose(accept, media_types)]
        return renderer, renderer.media_type

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """JSON under its own name or a vendor's (`application/vnd.example+json`). Without a parser DRF answers 415."""
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        if kind.startswith("application/") and kind.endswith("+json"):
            kind = JSON
        return next((parser for parser in parsers if parser.media_type == kind), None)


@lru_cache(maxsize=256)
def _preferred(accept: str, media_types: tuple[str, ...]) -> int:
    """The index of the type that a client prefers. Clients send few different headers, and reading one takes 30 µs."""
    ranges = _ranges(accept)
    # `max` keeps the first of equals, so the view's own order decides where the client's does not.
    return max(range(len(media_types)), key=lambda index: _preference(media_types[index], ranges))


def _ranges(accept: str) -> list[MediaType]:
    ranges = []
    for part in accept.split(","):
        try:
            ranges.append(MediaType(part))
        except ValueError:  # a parameter in an unknown encoding
            continue
    return ranges


def _preference(media_type: str, ranges: Sequence[MediaType]) -> tuple[float, int]:
    """How much a client wants a type: the quality of the most specific range that includes it, and its specificity."""
    main, _, sub = media_type.partition("/")
    specificity, quality = max(
        (
            (candidate.specificity, candidate.quality)
            for candidate in ranges
            if candidate.main_type in (main, "*") and candidate.sub_type in (sub, "*")
        ),
        default=(0, 0.0),
    )
    return (quality, specificity) if quality else (0.0, 0)

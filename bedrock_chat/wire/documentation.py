"""The OpenAPI document over HTTP, and its two readers, Swagger UI and Redoc, served without any outside request."""

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response


@cache
def document() -> dict[str, Any]:
    """The document. Making it takes tenths of a second and anybody may request it, so each process makes it once."""
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return schema


class SchemaView(SpectacularJSONAPIView):
    def _get_schema_response(self, request: Request) -> Response:
        return Response(document())


class SwaggerView(SpectacularSwaggerSplitView):
    """Swagger UI, with its script in a request of its own: the page's policy allows no inline script."""


class RedocView(SpectacularRedocView):
    """Redoc, without the fonts that its stock page fetches from Google."""

    template_name = "bedrock_chat/redoc.html"

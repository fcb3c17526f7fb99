"""Each published API's own OpenAPI document, and the page that shows it. Neither needs a key."""

from typing import Any

from django.utils.cache import patch_cache_control, patch_vary_headers
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.wire.documentation import SwaggerView
from bedrock_chat.wire.middleware import DOCUMENTATION, POLICIES
from bedrock_chat.wire.views import WireViewSet
from publication import documentation

KEPT_SECONDS = 300


class PublishedSchemaViewSet(WireViewSet):
    """The document."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(exclude=True)
    def retrieve(self, request: Request, bot_id: str, stage: str) -> Response:
        publication = documentation.open_publication(request._request, bot_id, stage)
        return _cached(Response(documentation.document_of(publication)))


class PublishedSwaggerView(SwaggerView):
    """The page."""

    url = "openapi.json"
    title = documentation.TITLE

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        documentation.open_publication(request._request, **kwargs)
        response: Response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        response.headers["Content-Security-Policy"] = POLICIES[DOCUMENTATION]
        return _cached(response)


def _cached(response: Response) -> Response:
    """What a browser may keep for a while; whether it may read it depends on the page that asks (`cors`)."""
    patch_cache_control(response, private=True, max_age=KEPT_SECONDS)
    patch_vary_headers(response, ["Origin"])
    return response

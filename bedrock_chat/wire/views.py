"""The base of all API views: DRF's ViewSet, whose requests and responses are freed as soon as they are sent."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet


def validated(serializer_class: type[serializers.Serializer[Any]], data: Any) -> Any:
    """The validated fields of a body or of a query. Raises DRF's ValidationError."""
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


class WireViewSet(ViewSet):
    """Breaks DRF's reference cycles, view ↔ response and request ↔ its own context of the parser.

    With them a response of 88 MB and the request's body stay in memory until the garbage collector comes, perhaps some
    hundred requests later. `WireRenderer` breaks the third one, response ↔ its context of the renderer.
    """

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        del self.response, self.request
        return response

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        wire_request = super().initialize_request(request, *args, **kwargs)
        wire_request.parser_context = {}  # WireParser needs none
        return wire_request

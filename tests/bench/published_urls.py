"""The product's routes, and an empty view of DRF: what a published API's requests are compared with."""

from django.urls import include, path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.wire.views import WireViewSet


class EmptyViewSet(WireViewSet):
    """Parses the body, and answers as much as an accepted question does."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def create(self, request: Request) -> Response:
        assert request.data
        return Response({"conversationId": "0" * 26, "messageId": "0" * 26})


urlpatterns = [path("empty", EmptyViewSet.as_view({"post": "create"})), path("", include("bedrock_chat.urls"))]

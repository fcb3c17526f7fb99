"""The product's routes, and an empty view of DRF: what a published API's requests are compared with."""

from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat import urls as product
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.wire.views import WireViewSet
from publication.models import Gate


class EmptyViewSet(WireViewSet):
    """Parses the body, and answers as much as an accepted question does."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def create(self, request: Request) -> Response:
        assert request.data
        return Response({"conversationId": "0" * 26, "messageId": "0" * 26})


class OneStatementViewSet(EmptyViewSet):
    """The empty view, and the least that a key can cost: one statement that finds a row by its key, and looks at it."""

    def create(self, request: Request) -> Response:
        with Batch() as batch:
            batch.select(Gate, ("account",), {"account": "of nobody"})
        return super().create(request)


urlpatterns = [
    path("empty", EmptyViewSet.as_view({"post": "create"})),
    path("one-statement", OneStatementViewSet.as_view({"post": "create"})),
    *product.urlpatterns,
]

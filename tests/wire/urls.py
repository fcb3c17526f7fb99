"""Small views that fail, echo and stream, to show what the wire does around every view."""

import errno
from collections.abc import Callable, Iterator
from typing import Any

import psycopg.errors
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import path, re_path
from rest_framework import exceptions, serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from bedrock_chat import logs
from bedrock_chat.wire import documentation, errors
from bedrock_chat.wire.renderers import WireRenderer

SECRET = "a secret of the inside"

FAILURES: dict[str, Callable[[], Exception]] = {
    "conflict": lambda: errors.Conflict("It is being answered.", retry_after=2.1, extra={"conversationId": "c1"}),
    "gateway": errors.BadGateway,
    "unauthenticated": errors.Unauthenticated,
    "drf-not-authenticated": exceptions.NotAuthenticated,
    "drf-authentication-failed": lambda: exceptions.AuthenticationFailed("The token has expired."),
    "drf-permission": lambda: exceptions.PermissionDenied("Not yours."),
    "drf-not-found": exceptions.NotFound,
    "drf-parse": exceptions.ParseError,
    "drf-throttled": lambda: exceptions.Throttled(wait=7),
    "django-404": lambda: Http404(SECRET),
    "django-permission": lambda: PermissionDenied(SECRET),
    "django-suspicious": lambda: SuspiciousOperation(SECRET),
    "django-too-big": lambda: RequestDataTooBig(SECRET),
    "django-validation": lambda: ModelValidationError("The name is taken."),
    "database": lambda: OperationalError(SECRET),
    "sqlite-full": lambda: OperationalError("database or disk is full"),
    "postgresql-full": lambda: full_postgresql(),
    "disk-full": lambda: OSError(errno.ENOSPC, SECRET),
    "quota-full": lambda: OSError(errno.EDQUOT, SECRET),
    "disk-read-only": lambda: OSError(errno.EROFS, SECRET),
    "disk-broken": lambda: OSError(errno.EIO, SECRET),
    "crash": lambda: RuntimeError(SECRET),
}


def full_postgresql() -> OperationalError:
    error = OperationalError(SECRET)
    error.__cause__ = psycopg.errors.DiskFull(SECRET)
    return error


class Events(BaseRenderer):
    media_type = "text/event-stream"
    format = "events"

    def render(self, data: Any, *_: Any) -> bytes:
        return f"data: {data}\n\n".encode()


class Open(APIView):
    authentication_classes = ()
    permission_classes = ()


class Fails(Open):
    renderer_classes = (Events, WireRenderer)

    def get(self, request: Request, how: str) -> Response:
        make = FAILURES[how]
        raise make()

    delete = get


def fails_plainly(request: HttpRequest, how: str) -> HttpResponse:
    make = FAILURES[how]
    raise make()


class Echo(Open):
    def post(self, request: Request) -> Response:
        return Response({"got": request.data})


class Items(ViewSet):
    authentication_classes = ()
    permission_classes = ()

    def retrieve(self, request: Request, item_id: str) -> Response:
        logs.bind(model="claude", price=None)
        return Response({"itemId": item_id, "messageMap": {"an_id": {"lastMessageId": 1}}})

    def destroy(self, request: Request, item_id: str) -> Response:
        return Response(None)


class Either(Open):
    renderer_classes = (WireRenderer, Events)

    def get(self, request: Request) -> Response:
        return Response({"lastMessageId": 1})


class PartSerializer(serializers.Serializer[Any]):
    media_type = serializers.CharField()


class MessageSerializer(serializers.Serializer[Any]):
    content = PartSerializer(many=True)
    parent_message_id = serializers.IntegerField(required=False)


class QuestionSerializer(serializers.Serializer[Any]):
    message = MessageSerializer()


class Question(Open):
    def post(self, request: Request) -> Response:
        QuestionSerializer(data=request.data).is_valid(raise_exception=True)
        return Response(None)


def stream(request: HttpRequest) -> HttpResponseBase:
    def parts() -> Iterator[str]:
        yield "first"
        logs.bind(output_tokens=7)

    return StreamingHttpResponse(parts())


class FailingMiddleware:
    def __init__(self, get_response: Any) -> None:
        pass

    def __call__(self, request: HttpRequest) -> HttpResponse:
        raise RuntimeError(SECRET)


urlpatterns = [
    path("fails/<str:how>", Fails.as_view()),
    path("fails-plainly/<str:how>", fails_plainly),
    path("console/<str:how>", fails_plainly),
    path("echo", Echo.as_view()),
    path("items/<str:item_id>", Items.as_view({"get": "retrieve", "delete": "destroy"})),
    path("either", Either.as_view()),
    path("question", Question.as_view()),
    path("stream", stream),
    path("schema", documentation.SchemaView.as_view(), name="schema"),
    path("docs/swagger", documentation.SwaggerView.as_view()),
    path("docs/redoc", documentation.RedocView.as_view()),
    re_path("", errors.not_found),
]
handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.not_found
handler500 = errors.server_error

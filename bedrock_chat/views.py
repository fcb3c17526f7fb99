"""Routes without users: is the process alive, can it work, what does it count, what does a frontend show first?"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views import View
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.bedrock import offering
from bedrock_chat.bedrock.overrides import snapshot
from bedrock_chat.identity import authentication, failed_tokens
from bedrock_chat.identity.caller import Caller
from bedrock_chat.jobs.backlog import Backlog
from bedrock_chat.metrics import scraping
from bedrock_chat.process import readiness, shutdown
from bedrock_chat.resilience.dependencies import State
from bedrock_chat.wire.errors import ApiError, ServiceUnavailable, Unauthenticated, as_api_error, json_error
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.views import WireViewSet

NO_MODEL = "none"
"""No model is called so. A list of it alone offers nothing, where an empty one would offer every model."""


class StatusSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok"])


class QueueSerializer(serializers.Serializer[Any]):
    waiting = serializers.IntegerField(help_text="Jobs that are due and that nobody has begun, counted up to 10,000.")
    oldest_seconds = serializers.FloatField(help_text="For how long the oldest of them has been due; 0 if none is.")


class ReadinessSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok"])
    database = serializers.ChoiceField(
        choices=[State.OK, State.FULL], help_text="`full`: there is little room left for SQLite's file, or none."
    )
    cache = serializers.ChoiceField(choices=list(State), help_text="Redis; each process counts for itself without it.")
    broker = serializers.ChoiceField(
        choices=list(State),
        help_text="The broker of Celery's messages, when one was last sent; without it jobs begin when it is back, or "
        "by workers that need none.",
    )
    storage = serializers.ChoiceField(
        choices=list(State),
        help_text="The bucket or folder of images and documents; without it those alone are missing.",
    )
    temporary = serializers.ChoiceField(
        choices=list(State), help_text="The folder of temporary files, where large requests are kept as they arrive."
    )
    identity = serializers.ChoiceField(
        choices=list(State), help_text="The address of the tokens' keys, when it was last needed; known keys serve on."
    )
    directory = serializers.ChoiceField(
        choices=list(State), help_text="The Cognito pool, when people or groups were last looked for."
    )
    bedrock = serializers.ChoiceField(choices=list(State), help_text="Bedrock, when it was last called.")
    worker = serializers.ChoiceField(
        choices=["ok", "absent"], help_text="Whether any worker was seen lately; without one, jobs wait."
    )
    queue = QueueSerializer(required=False, help_text="Left out where the database is full.")


class GlobalConfigSerializer(serializers.Serializer[Any]):
    global_available_models = serializers.ListField(
        child=serializers.CharField(),
        help_text="With a token, those that its user may use, else those that are open to all. Empty: every model of "
        f"the catalogue. `[{NO_MODEL}]`: none.",
    )
    default_model = serializers.CharField(help_text="One of them, where there are any.")
    logo_path = serializers.CharField(allow_blank=True)


class OpenViewSet(WireViewSet):
    authentication_classes = ()
    permission_classes = ()


class HealthViewSet(OpenViewSet):
    @extend_schema(
        operation_id="health",
        summary="Liveness",
        description="The process answers. Reads no database.",
        tags=["operation"],
        auth=[],
        responses={200: StatusSerializer, **errors()},
    )
    def retrieve(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadinessViewSet(OpenViewSet):
    @extend_schema(
        operation_id="ready",
        summary="Readiness",
        description="The database answers, and the process is not shutting down. Of everything else that the server "
        "uses it tells whether it answers, and if not, why; the server works without it, as far as it can. A 503 tells "
        "the same beside its `detail`. The answer comes within two seconds, whatever is away.",
        tags=["operation"],
        auth=[],
        responses={200: ReadinessSerializer, **errors(503)},
    )
    def retrieve(self, request: Request) -> Response:
        if shutdown.draining():
            raise ServiceUnavailable("This process is shutting down.", retry_after=1)
        outcomes = readiness.states()
        states = {name: state.value for name, (state, _) in outcomes.items()}
        if states["database"] not in (State.OK, State.FULL):  # from a full one conversations are read all the same
            sentence = f"The database is away: {states['database']}."
            if states["database"] == State.NOT_MIGRATED:
                sentence = "The database has not the tables of this version: run manage.py migrate."
            raise ServiceUnavailable(sentence, retry_after=5, extra=states)
        backlog: Backlog | None = outcomes["database"][1]
        answer: dict[str, Any] = {"status": "ok", **states, "worker": "ok" if backlog and backlog.workers else "absent"}
        if backlog is not None:
            answer["queue"] = {"waiting": backlog.waiting, "oldestSeconds": backlog.oldest_seconds}
        return Response(answer)


class GlobalConfigViewSet(OpenViewSet):
    @extend_schema(
        operation_id="get_global_config",
        summary="What a frontend shows before sign-in, and which models somebody may use",
        description="It needs no token, and a token that is no good counts for none.",
        tags=["config"],
        auth=[{}, {"token": []}],  # type: ignore[list-item]  # as the document has them
        responses={200: GlobalConfigSerializer, **errors()},
    )
    def retrieve(self, request: Request) -> Response:
        models, default = available_models(request._request)
        return Response({"globalAvailableModels": models, "defaultModel": default, "logoPath": settings.LOGO_PATH})


def available_models(request: HttpRequest) -> tuple[list[str], str]:
    """The keys of the models that whoever sends a request may use, as a frontend takes them, and of the default one.

    The token is looked at only where it makes a difference: where some model is for members of groups alone.
    """
    rows = snapshot.current()
    if not rows.narrows:
        return settings.GLOBAL_AVAILABLE_MODELS, offering.default_key()
    models = [model.key for model in offering.offered(_caller_if_any(request) if rows.groups else None)]
    default = offering.default_key()
    return models or [NO_MODEL], default if default in models or not models else models[0]


def _caller_if_any(request: HttpRequest) -> Caller | None:
    """The caller behind a good token. A bad one is counted as everywhere, and otherwise makes no difference."""
    token = authentication.bearer_token(request)
    try:
        return authentication.sign_in(request, token) if token else None
    except ApiError:
        return None


class MetricsView(View):
    """`GET /metrics`, for Prometheus and what reads its formats. It is a route only where there is a METRICS_TOKEN.

    A wrong token is 401, and counts with all failed tokens of its address.
    """

    def get(self, request: HttpRequest) -> HttpResponse:
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not constant_time_compare(token.strip(), settings.METRICS_TOKEN):
            failed_tokens.count(request)
            raise Unauthenticated("The metrics need their token: Authorization: Bearer <METRICS_TOKEN>.")
        body, content_type = scraping.answer(str(settings.METRICS_DIR), request.META.get("HTTP_ACCEPT", ""))
        return HttpResponse(body, content_type=content_type, headers={"Cache-Control": "no-store"})

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        error = as_api_error(MethodNotAllowed(str(request.method)))
        error.headers["Allow"] = "GET, HEAD, OPTIONS"
        return json_error(error)

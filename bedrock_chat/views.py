"""Routes that need no token: is the process alive, can it work, and what does a frontend show before sign-in?"""

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.process import readiness, shutdown
from bedrock_chat.resilience.dependencies import State
from bedrock_chat.wire.errors import ServiceUnavailable
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.views import WireViewSet


class StatusSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok"])


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


class GlobalConfigSerializer(serializers.Serializer[Any]):
    global_available_models = serializers.ListField(
        child=serializers.CharField(), help_text="Empty: every model of the catalogue."
    )
    default_model = serializers.CharField()
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
        _, workers = outcomes["database"]
        return Response({"status": "ok", **states, "worker": "ok" if workers else "absent"})


class GlobalConfigViewSet(OpenViewSet):
    @extend_schema(
        operation_id="get_global_config",
        summary="What a frontend shows before sign-in",
        tags=["config"],
        auth=[],
        responses={200: GlobalConfigSerializer, **errors()},
    )
    def retrieve(self, request: Request) -> Response:
        return Response(
            {
                "globalAvailableModels": settings.GLOBAL_AVAILABLE_MODELS,
                "defaultModel": settings.DEFAULT_MODEL,
                "logoPath": settings.LOGO_PATH,
            }
        )

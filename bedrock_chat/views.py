"""Routes that need no token: is the process alive, can it work, and what does a frontend show before sign-in?"""

import logging
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.jobs.worker import workers_seen
from bedrock_chat.process import shutdown
from bedrock_chat.wire.errors import ServiceUnavailable
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.views import WireViewSet

logger = logging.getLogger(__name__)


class StatusSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok"])


class ReadinessSerializer(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok"])
    database = serializers.ChoiceField(choices=["ok"])
    cache = serializers.ChoiceField(choices=["ok"])
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
        tags=["conversation"],
        auth=[],
        responses={200: StatusSerializer, **errors()},
    )
    def retrieve(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadinessViewSet(OpenViewSet):
    @extend_schema(
        operation_id="ready",
        summary="Readiness",
        description="Database and cache answer, and the process is not shutting down.",
        tags=["operation"],
        auth=[],
        responses={200: ReadinessSerializer, **errors(503)},
    )
    def retrieve(self, request: Request) -> Response:
        if shutdown.draining():
            raise ServiceUnavailable("This process is shutting down.", retry_after=1)
        for name, check in (("database", _check_database), ("cache", _check_cache)):
            try:
                check()
            except Exception:
                logger.exception("not ready: %s", name)
                raise ServiceUnavailable(f"The {name} does not answer.", retry_after=5) from None
        worker = "ok" if workers_seen() else "absent"
        return Response({"status": "ok", "database": "ok", "cache": "ok", "worker": worker})


def _check_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _check_cache() -> None:
    cache.set("ready", "ok", 10)
    if cache.get("ready") != "ok":
        raise RuntimeError("the cache forgot")


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

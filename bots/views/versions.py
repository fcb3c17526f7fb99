"""Versions of a bot over REST."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.serving import answers
from bedrock_chat.wire.openapi import errors, links
from bedrock_chat.wire.views import WireViewSet
from bots import editing, guarding, rendering, versions
from bots.serializers.bots import BotModifyOutputSerializer, VersionMetaSerializer, VersionSerializer
from bots.views.bots import TAG

NUMBER = OpenApiParameter("version", OpenApiTypes.INT, OpenApiParameter.PATH)
_LISTED = {"bot_id": "$request.path.bot_id", "version": "$response.body#/0/version"}


class VersionViewSet(WireViewSet):
    """What a bot was, for its owner and Admin."""

    @extend_schema(
        operation_id="get_bot_versions",
        summary="List a bot's versions, the newest first",
        description="The newest ones are kept, as many as the setting BOT_VERSIONS says, and the one of a pinned API.",
        tags=TAG,
        extensions=links(get_bot_version=_LISTED, restore_bot_version=_LISTED),
        responses={200: VersionMetaSerializer(many=True), **errors(404)},
    )
    def list(self, request: Request, bot_id: str) -> Response:
        return Response(rendering.version_metas(versions.of(bot_id, actor=caller_of(request))))

    @extend_schema(
        operation_id="get_bot_version",
        summary="Open a version, with what it changed",
        tags=TAG,
        parameters=[NUMBER],
        responses={200: VersionSerializer, **errors(404)},
    )
    def retrieve(self, request: Request, bot_id: str, version: int) -> Response:
        actor = caller_of(request)
        opened, before = versions.get(bot_id, version, actor=actor)
        # What has changed is there three times: as the content, and before and after the change.
        size = 2 * rendering.size_of(opened) + (rendering.size_of(before) if before else 0)
        return answers.make(actor.account, size, lambda: Response(rendering.version_output(opened, before)))

    @extend_schema(
        operation_id="restore_bot_version",
        summary="Make a version the newest one again",
        description="Today's secrets, scope and people stay.",
        tags=TAG,
        parameters=[NUMBER],
        request=None,
        responses={200: BotModifyOutputSerializer, **errors(404, 503)},
    )
    def restore(self, request: Request, bot_id: str, version: int) -> Response:
        bot = editing.restore(bot_id, version, actor=caller_of(request))
        return Response(rendering.modify_output(bot, guardrails=guarding.shown(bot)))

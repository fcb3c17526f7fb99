"""A bot's files over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.wire.names import to_snake
from bedrock_chat.wire.openapi import VOID, errors
from bedrock_chat.wire.views import WireViewSet, validated
from bots import editing, files
from bots.serializers.knowledge import UploadQuerySerializer, UploadUrlQuerySerializer, UploadUrlSerializer
from bots.views.bots import TAG

FILE_NAME = OpenApiParameter("filename", str, required=True, description="A file's name, without a path.")
CONTENT_TYPE = OpenApiParameter(
    "contentType", str, required=True, description="The Content-Type of the upload; empty where any will do."
)
A_URL = OpenApiExample(
    "An address",
    response_only=True,
    status_codes=["200"],
    value={"url": "https://chat.example.com/uploads?token=WyI5ZjM…"},
)


class BotFileViewSet(WireViewSet):
    """Files that are uploaded for a bot, and those that it has."""

    @extend_schema(
        operation_id="get_presigned_url",
        summary="Get an address to upload a file to",
        description="Before or after the bot exists. The file waits for you alone; a creation or an edit of the "
        "bot that names it keeps it. What nobody keeps is gone after a day.",
        tags=TAG,
        parameters=[FILE_NAME, CONTENT_TYPE],
        examples=[A_URL],
        responses={200: UploadUrlSerializer, **errors(400)},
    )
    def make_url(self, request: Request, bot_id: str) -> Response:
        query = validated(UploadUrlQuerySerializer, _query(request))
        url = files.upload_url(bot_id, query["filename"], query["content_type"], actor=caller_of(request))
        return Response({"url": url})

    @extend_schema(
        operation_id="delete_uploaded_file",
        summary="Remove a file that you have uploaded and not kept",
        description="Files that the bot has stay.",
        tags=TAG,
        parameters=[FILE_NAME],
        responses={200: VOID, **errors(400, 503)},
    )
    def remove_upload(self, request: Request, bot_id: str) -> Response:
        query = validated(UploadQuerySerializer, _query(request))
        files.remove_upload(bot_id, query["filename"], actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="delete_bot_file",
        summary="Remove a file from a bot and all of its versions",
        description="For its owner and Admin. Where the bot has it today, that makes a version.",
        tags=TAG,
        responses={200: VOID, **errors(404)},
    )
    def destroy(self, request: Request, bot_id: str, digest: str) -> Response:
        editing.remove_file(bot_id, digest, actor=caller_of(request))
        return Response(None)


def _query(request: Request) -> dict[str, Any]:
    query: dict[str, Any] = to_snake(request.query_params.dict())
    return query

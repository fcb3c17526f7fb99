"""Bots that travel, over REST: copies, exports and imports."""

from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from django.http import FileResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.serving import answers
from bedrock_chat.wire.ids import new_id
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.parsers import WireParser
from bedrock_chat.wire.views import WireViewSet, validated
from bots import cloning, rendering, sharing
from bots.serializers.bots import BotSerializer, CloneInputSerializer, ExportQuerySerializer
from bots.serializers.documents import SCHEMA, VERSION, DocumentSerializer
from bots.transfer import exporting, importing
from bots.views.bots import TAG

ZIP = "application/zip"

A_CLONE = OpenApiExample("A copy under another title", request_only=True, value={"title": "My translator"})
A_DOCUMENT = OpenApiExample(
    "A bot",
    value={
        "schema": SCHEMA,
        "version": VERSION,
        "id": "translator",
        "bot": {
            "title": "Translator",
            "description": "Any language to English.",
            "instruction": "You translate what you are sent into English, and say nothing else.",
            "conversationQuickStarters": [{"title": "A greeting", "example": "Buenos días"}],
            "activeModels": {"claudeV3Haiku": False},
        },
    },
)


class ZipParser(BaseParser):
    """The body as a file that can be sought in. Nothing of it is read yet."""

    media_type = ZIP

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        body = getattr(stream, "META", {}).get("wsgi.input")
        return body if body is not None and body.seekable() else BytesIO(stream.read())


class BotCopyViewSet(WireViewSet):
    @extend_schema(
        operation_id="clone_bot",
        summary="Make a bot like one that you may use",
        description="It takes the group `CreatingBotAllowed`, and the bot's `allowCloning`; its owner and Admin always "
        "may. The copy is yours, private and without secrets: a tool that needs a key keeps its place, and `warnings` "
        "tell of it.",
        tags=TAG,
        request=CloneInputSerializer,
        examples=[A_CLONE],
        responses={200: BotSerializer, **errors(400, 404, 409, 413, 415)},
    )
    def clone(self, request: Request, bot_id: str) -> Response:
        sent = validated(CloneInputSerializer, request.data)
        bot = cloning.clone(bot_id, sent.get("id") or new_id(), sent.get("title"), actor=caller_of(request))
        return Response(rendering.bot_output(bot, sharing.People(), None))

    @extend_schema(
        operation_id="export_bot",
        summary="Export a bot as a document",
        description="For its owner and Admin. Secrets, the guardrail's ARN and version, scope and people are left out. "
        "With `files=true` the answer is a zip: the document is `bot.json` in it, and each file `files/<SHA-256>`.",
        tags=TAG,
        parameters=[ExportQuerySerializer],
        examples=[A_DOCUMENT],
        responses={
            (200, "application/json"): DocumentSerializer,
            (200, ZIP): OpenApiTypes.BINARY,
            **errors(400, 404, 409, 503),
        },
    )
    def export(self, request: Request, bot_id: str) -> HttpResponseBase:
        query = validated(ExportQuerySerializer, request.query_params)
        actor = caller_of(request)
        export = exporting.Export(bot_id, actor=actor)
        if not query["files"]:
            return answers.make(actor.account, export.size, lambda: Response(export.document))
        zipped = export.zipped()
        return answers.make(actor.account, zipped.size, lambda: _attachment(zipped.make(), f"{bot_id}.zip"))


class BotImportViewSet(WireViewSet):
    parser_classes = (WireParser, ZipParser)

    @extend_schema(
        operation_id="import_bot",
        summary="Import a bot from a document",
        description="It takes the group `CreatingBotAllowed`. The body is what an export answers: the document, or the "
        "zip. The bot is yours, private, and has a new id. Whatever is not sound is a 400 that names the place, and "
        "then nothing is imported.",
        tags=TAG,
        request={"application/json": DocumentSerializer, ZIP: OpenApiTypes.BINARY},
        examples=[A_DOCUMENT],
        responses={200: BotSerializer, **errors(400, 413, 415, 503)},
    )
    def create(self, request: Request) -> Response:
        bot = importing.create(request.data, actor=caller_of(request))
        return Response(rendering.bot_output(bot, sharing.People(), None))


def _attachment(file: IO[bytes], name: str) -> FileResponse:
    return FileResponse(file, as_attachment=True, filename=name, content_type=ZIP)

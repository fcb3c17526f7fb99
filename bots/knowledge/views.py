"""A bot's knowledge over REST, for who may edit the bot: each view parses, makes one call and renders."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.serving import answers
from bedrock_chat.wire import paging
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.paging import Page
from bedrock_chat.wire.requests import HANG_UP
from bedrock_chat.wire.views import WireViewSet, validated
from bots.knowledge import asking, rendering, reports, trying
from bots.knowledge.serializers import (
    DocumentsQuerySerializer,
    KnowledgeDocumentSerializer,
    KnowledgeQuerySerializer,
    KnowledgeReportSerializer,
    PassagesSerializer,
    SyncInputSerializer,
)

TAG = ["bot"]
USUAL_PAGE = 100
"""Documents of a page where nobody says how many."""

A_FULL_SYNC = OpenApiExample("Everything anew", request_only=True, value={"full": True})
A_QUERY = OpenApiExample("A question", request_only=True, value={"query": "How many vacation days do I have?"})


class KnowledgeViewSet(WireViewSet):
    """What a bot knows, and how far its sync is, for its owner and Admin."""

    @extend_schema(
        operation_id="get_bot_knowledge",
        summary="Tell how far a bot's knowledge is",
        description="Its sources with the number of their documents by state, tokens and cost.",
        tags=TAG,
        responses={200: KnowledgeReportSerializer, **errors(404, 503)},
    )
    def retrieve(self, request: Request, bot_id: str) -> Response:
        actor = caller_of(request)
        return _respond(actor.account, reports.of_bot(bot_id, actor=actor))

    @extend_schema(
        operation_id="get_bot_documents",
        summary="List the documents that a bot knows, or that could not be read",
        description=f"A page has {USUAL_PAGE} documents where `limit` does not say otherwise.",
        tags=TAG,
        parameters=[DocumentsQuerySerializer, *paging.PARAMETERS, paging.LINK],
        responses={200: KnowledgeDocumentSerializer(many=True), **errors(400, 404, 503)},
    )
    def list_documents(self, request: Request, bot_id: str) -> Response:
        actor, page = caller_of(request), paging.read(request)
        query = validated(DocumentsQuerySerializer, request.query_params)
        page = Page(page.limit or USUAL_PAGE, page.after)
        assert page.rows is not None
        after = _key(page.after)
        rows = reports.documents(bot_id, state=query.get("state"), after=after, limit=page.rows, actor=actor)
        size = page.rows * rendering.BYTES_PER_DOCUMENT
        respond = lambda: paging.respond(request, page, rendering.documents_output(rows), key="id")  # noqa: E731
        return answers.make(actor.account, size, respond)

    @extend_schema(
        operation_id="sync_bot_knowledge",
        summary="Have a bot's sources read again",
        description="What has not changed is not fetched or embedded again, unless `full` says so. While a sync runs, "
        "that one is the answer; with `full` another one follows it.",
        tags=TAG,
        request=SyncInputSerializer,
        examples=[A_FULL_SYNC],
        responses={200: KnowledgeReportSerializer, **errors(400, 404, 413, 415, 503)},
    )
    def sync(self, request: Request, bot_id: str) -> Response:
        sent = validated(SyncInputSerializer, request.data)
        actor = caller_of(request)
        return _respond(actor.account, reports.report(asking.sync(bot_id, full=sent["full"], actor=actor)))

    @extend_schema(
        operation_id="cancel_bot_sync",
        summary="End the sync of a bot",
        description="What it has read stays. The next edit or request begins another one.",
        tags=TAG,
        request=None,
        responses={200: KnowledgeReportSerializer, **errors(404, 503)},
    )
    def cancel(self, request: Request, bot_id: str) -> Response:
        actor = caller_of(request)
        return _respond(actor.account, reports.report(asking.cancel(bot_id, actor=actor)))

    @extend_schema(
        operation_id="search_bot_knowledge",
        summary="Search a bot's knowledge",
        description="What an answer would be based on, with both scores: so that one can see why something is not "
        "found. Where nothing can be found, `note` says why. The query is embedded at your cost, and a client that "
        "leaves ends its search. A bot with `existKnowledgeBaseId` asks that base: its `score` is all that is known "
        "of a passage then.",
        tags=TAG,
        request=KnowledgeQuerySerializer,
        examples=[A_QUERY],
        responses={200: PassagesSerializer, **errors(400, 404, 413, 415, 429, 503)},
    )
    def search(self, request: Request, bot_id: str) -> Response:
        sent = validated(KnowledgeQuerySerializer, request.data)
        interruption = Interruption()
        if (notify := request.META.get(HANG_UP)) is not None:
            notify(interruption.request)
        retrieved = trying.search(bot_id, sent["query"], actor=caller_of(request), interruption=interruption)
        return Response(rendering.passages_output(retrieved))


def _respond(account: str, report: reports.KnowledgeReport) -> Response:
    return answers.make(account, rendering.size_of(report), lambda: Response(rendering.report_output(report)))


def _key(after: str | None) -> int:
    """Raises BadRequest for a cursor that names no document."""
    if after is None:
        return 0
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise BadRequest("cursor: this is no cursor of this list; begin without one.")
    return int(after)

"""The store over REST: each view parses, makes one call and renders."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import Caller, caller_of
from bedrock_chat.serving import answers
from bedrock_chat.wire.openapi import errors, links
from bedrock_chat.wire.views import WireViewSet, validated
from bots import listing, rendering
from bots.listing import Entry
from bots.serializers.bots import BotMetaSerializer
from store import ranking, search
from store.serializers import StoreQuerySerializer, StoreSearchSerializer

TAG = ["bot_store"]

_FOUND: Any = {"bot_id": "$response.body#/0/id"}

FOUND = OpenApiExample(
    "A bot of somebody else's",
    response_only=True,
    value=[
        {
            "id": "translator",
            "title": "Translator",
            "description": "Any language to English.",
            "createTime": 1767225600000.0,
            "lastUsedTime": 1767225600000.0,
            "isStarred": False,
            "owned": False,
            "available": True,
            "syncStatus": "SUCCEEDED",
            "sharedScope": "all",
            "sharedStatus": "shared",
        }
    ],
)


def _answer(actor: Caller, entries: list[Entry]) -> Response:
    listed = listing.already_read(entries)
    return answers.make(actor.account, listed.size, lambda: Response(rendering.metas(listed.read())))


class StoreViewSet(WireViewSet):
    """Bots that the caller may use, whoever made them."""

    @extend_schema(
        operation_id="search_store",
        summary="Search for bots",
        description="In titles and descriptions, the best first; in instructions too for a bot's owner and Admin, who "
        "also finds what is shared with others. A change is found a few seconds after it was made. Where nothing "
        "answers the words as they stand, they are taken for beginnings and corrected, and where nothing answers that "
        "either, some of them will do.",
        tags=TAG,
        parameters=[
            StoreSearchSerializer,
            OpenApiParameter(
                "query", str, required=True, examples=[OpenApiExample("A word with a typo", value="transaltor")]
            ),
        ],
        extensions=links(get_bot_summary=_FOUND, patch_bot_starred=_FOUND),
        examples=[FOUND],
        responses={200: BotMetaSerializer(many=True), **errors(400)},
    )
    def search(self, request: Request) -> Response:
        query, actor = validated(StoreSearchSerializer, request.query_params), caller_of(request)
        return _answer(actor, search.search(**query, actor=actor))

    @extend_schema(
        operation_id="get_popular_bots",
        summary="List popular bots",
        description="What most people used on most days, recent days counting more. Uses count after ten minutes at "
        "most.",
        tags=TAG,
        parameters=[StoreQuerySerializer],
        extensions=links(get_bot_summary=_FOUND),
        examples=[FOUND],
        responses={200: BotMetaSerializer(many=True), **errors(400)},
    )
    def list_popular(self, request: Request) -> Response:
        query, actor = validated(StoreQuerySerializer, request.query_params), caller_of(request)
        return _answer(actor, ranking.popular(**query, actor=actor))

    @extend_schema(
        operation_id="get_picked_bots",
        summary="List the day's pick of bots",
        description="A random choice, which changes at 00:00 UTC.",
        tags=TAG,
        parameters=[StoreQuerySerializer],
        extensions=links(get_bot_summary=_FOUND),
        examples=[FOUND],
        responses={200: BotMetaSerializer(many=True), **errors(400)},
    )
    def list_picked(self, request: Request) -> Response:
        query, actor = validated(StoreQuerySerializer, request.query_params), caller_of(request)
        return _answer(actor, ranking.pickup(**query, actor=actor))

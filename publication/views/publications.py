"""Publications and keys over REST, for owners and Admin."""

from datetime import UTC, datetime, timedelta
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.wire.fields import DigitsField
from bedrock_chat.wire.openapi import VOID, errors
from bedrock_chat.wire.views import WireViewSet, validated
from publication import keys, lifecycle, listing, reading, rendering
from publication.serializers.publications import (
    KeyChangeSerializer,
    KeyInputSerializer,
    KeySerializer,
    ListedKeySerializer,
    PublicationChangeSerializer,
    PublicationSerializer,
    PublicationSettingsSerializer,
    PublishedBotsSerializer,
    PublishInputSerializer,
    RotationSerializer,
    TopUpSerializer,
)

TAG = ["publication"]

AN_API = OpenApiExample(
    "Ten requests a second, a thousand a day",
    request_only=True,
    value={
        "stage": None,
        "quota": {"limit": 1000, "offset": 0, "period": "DAY"},
        "throttle": {"rateLimit": 10, "burstLimit": 20},
        "allowedOrigins": ["https://app.example.com"],
    },
)
ROLLED_BACK = OpenApiExample("Pinned to a version of the bot", request_only=True, value={"botVersion": 3})


def _columns(serializer_class: type[PublicationSettingsSerializer], data: Any) -> dict[str, Any]:
    serializer = serializer_class(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.columns()


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


class PublicationViewSet(WireViewSet):
    """A bot as an API."""

    @extend_schema(
        operation_id="post_publication",
        summary="Publish a bot",
        description="The owner's alone, in the group `PublishAllowed`. The bot must be shared with everybody. The API "
        "is there at once, with a first key.",
        tags=TAG,
        request=PublishInputSerializer,
        examples=[AN_API],
        responses={200: VOID, **errors(400, 404, 413, 415, 503)},
    )
    def create(self, request: Request, bot_id: str) -> Response:
        lifecycle.publish(bot_id, _columns(PublishInputSerializer, request.data), actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="get_publication",
        summary="Open a publication",
        tags=TAG,
        responses={200: PublicationSerializer, **errors(400, 404)},
    )
    def retrieve(self, request: Request, bot_id: str) -> Response:
        return Response(rendering.publication_output(*reading.publication(bot_id, actor=caller_of(request))))

    @extend_schema(
        operation_id="patch_publication",
        summary="Change a publication in place",
        description="What is absent stays. `botVersion` pins the API to a version of the bot, or lets it follow it.",
        tags=TAG,
        request=PublicationChangeSerializer,
        examples=[ROLLED_BACK],
        responses={200: PublicationSerializer, **errors(400, 404, 413, 415)},
    )
    def update(self, request: Request, bot_id: str) -> Response:
        actor = caller_of(request)
        lifecycle.change(bot_id, _columns(PublicationChangeSerializer, request.data), actor=actor)
        return Response(rendering.publication_output(*reading.publication(bot_id, actor=actor)))

    @extend_schema(
        operation_id="delete_publication",
        summary="Withdraw an API",
        description="Its keys are gone, waiting turns never run, running ones are stopped.",
        tags=TAG,
        responses={200: VOID, **errors(400, 404)},
    )
    def destroy(self, request: Request, bot_id: str) -> Response:
        lifecycle.withdraw(bot_id, actor=caller_of(request))
        return Response(None)


class KeyListViewSet(WireViewSet):
    """The keys of a published API."""

    @extend_schema(
        operation_id="get_api_keys",
        summary="List the keys of an API",
        description="Without their values, with their last use.",
        tags=TAG,
        responses={200: ListedKeySerializer(many=True), **errors(400, 404)},
    )
    def list(self, request: Request, bot_id: str) -> Response:
        return Response(rendering.listed_keys(keys.of(bot_id, actor=caller_of(request))))

    @extend_schema(
        operation_id="post_api_key",
        summary="Make a key",
        description="The bot's owner alone.",
        tags=TAG,
        request=KeyInputSerializer,
        responses={200: KeySerializer, **errors(400, 404, 409, 413, 415, 503)},
    )
    def create(self, request: Request, bot_id: str) -> Response:
        sent = validated(KeyInputSerializer, request.data)
        expires_at = _moment(sent.get("expires_at"))
        return Response(
            rendering.key_output(keys.create(bot_id, sent["description"], expires_at, actor=caller_of(request)))
        )


class KeyViewSet(WireViewSet):
    """One key."""

    @extend_schema(
        operation_id="get_api_key",
        summary="Open a key, with its value",
        tags=TAG,
        responses={200: KeySerializer, **errors(400, 404, 503)},
    )
    def retrieve(self, request: Request, bot_id: str, api_key_id: str) -> Response:
        return Response(rendering.key_output(keys.show(bot_id, api_key_id, actor=caller_of(request))))

    @extend_schema(
        operation_id="patch_api_key",
        summary="Change a key",
        description="A disabled key is refused from the next request on.",
        tags=TAG,
        request=KeyChangeSerializer,
        responses={200: KeySerializer, **errors(400, 404, 413, 415, 503)},
    )
    def update(self, request: Request, bot_id: str, api_key_id: str) -> Response:
        sent = validated(KeyChangeSerializer, request.data)
        columns = {"is_enabled" if name == "enabled" else name: value for name, value in sent.items()}
        if "expires_at" in columns:
            columns["expires_at"] = _moment(columns["expires_at"])
        key = keys.change(bot_id, api_key_id, columns, actor=caller_of(request))
        return Response(rendering.key_output(keys.reveal(key)))

    @extend_schema(
        operation_id="delete_api_key",
        summary="Revoke a key",
        tags=TAG,
        responses={200: VOID, **errors(400, 404)},
    )
    def destroy(self, request: Request, bot_id: str, api_key_id: str) -> Response:
        keys.revoke(bot_id, api_key_id, actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="rotate_api_key",
        summary="Replace a key by a new one",
        description="The new one works at once, the old one until the overlap ends. Both draw on the same quota.",
        tags=TAG,
        request=RotationSerializer,
        responses={200: KeySerializer, **errors(400, 404, 409, 413, 415, 503)},
    )
    def rotate(self, request: Request, bot_id: str, api_key_id: str) -> Response:
        overlap = timedelta(hours=validated(RotationSerializer, request.data)["overlap_hours"])
        return Response(rendering.key_output(keys.rotate(bot_id, api_key_id, overlap, actor=caller_of(request))))

    @extend_schema(
        operation_id="top_up_api_key",
        summary="Add requests to the quota of the present period",
        description="Admin alone. They end with the period.",
        tags=TAG,
        request=TopUpSerializer,
        responses={200: VOID, **errors(400, 404, 409, 413, 415)},
    )
    def top_up(self, request: Request, bot_id: str, api_key_id: str) -> Response:
        requests = validated(TopUpSerializer, request.data)["requests"]
        keys.top_up(bot_id, api_key_id, requests, actor=caller_of(request))
        return Response(None)


class PublishedBotsQuerySerializer(serializers.Serializer[Any]):
    limit = DigitsField(
        required=False, default=listing.USUAL, min_value=1, max_value=listing.MOST, help_text="At most so many."
    )
    next_token = serializers.CharField(
        required=False, allow_null=True, default=None, max_length=256, help_text="`nextToken` of the page before."
    )


class PublishedBotsViewSet(WireViewSet):
    """All published bots, for Admin."""

    @extend_schema(
        operation_id="get_published_bots",
        summary="List the published bots",
        tags=["admin"],
        parameters=[PublishedBotsQuerySerializer],
        responses={200: PublishedBotsSerializer, **errors(400)},
    )
    def retrieve(self, request: Request) -> Response:
        query = validated(PublishedBotsQuerySerializer, request.query_params)
        page = listing.published_bots(query["limit"], query["next_token"], actor=caller_of(request))
        bots = [rendering.published_bot(bot) for bot in page.bots]
        return Response({"bots": bots, "nextToken": page.next_token})

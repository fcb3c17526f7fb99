"""People over REST, for Admin."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity import spending
from bedrock_chat.identity.caller import caller_of
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.reports import RankingQuerySerializer
from bedrock_chat.wire.views import WireViewSet, validated


class SpenderSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    email = serializers.CharField(allow_blank=True)
    total_price = serializers.FloatField(help_text="USD. Calls of models without a price cost nothing here.")


class SpenderViewSet(WireViewSet):
    """People, by what they have paid."""

    @extend_schema(
        operation_id="get_users",
        summary="List people by what they paid",
        description="For Admin. Published calls count for their bot's owner. Today, where no hours are sent.",
        tags=["admin"],
        parameters=[RankingQuerySerializer],
        examples=[
            OpenApiExample(
                "Alice",
                value={
                    "id": "32676be9-f566-40f1-96c1-15c6abc7dcd9",
                    "email": "alice@example.com",
                    "totalPrice": 1.25,
                },
                response_only=True,
                status_codes=["200"],
            )
        ],
        responses={200: SpenderSerializer(many=True), **errors(400)},
    )
    def list(self, request: Request) -> Response:
        query = validated(RankingQuerySerializer, request.query_params)
        people = spending.dearest_people(hours=query["hours"], limit=query["limit"], actor=caller_of(request))
        return Response([{"id": user.pk, "email": user.email, "totalPrice": float(price)} for user, price in people])

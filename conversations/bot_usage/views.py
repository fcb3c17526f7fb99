"""How a bot is used, over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.reports import HoursQuerySerializer
from bedrock_chat.wire.views import WireViewSet, validated
from conversations.bot_usage import figures
from conversations.bot_usage.figures import BotUsage


class FiguresSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField(help_text="To models: a turn may make several.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()
    unpriced_calls = serializers.IntegerField(help_text="Of models without a price; they are not in `totalPrice`.")
    total_price = serializers.FloatField(help_text="USD.")


class DayFiguresSerializer(FiguresSerializer):
    day = serializers.DateField()


class OpinionsSerializer(serializers.Serializer[Any]):
    category = serializers.CharField(allow_blank=True)
    thumbs_up = serializers.IntegerField()
    thumbs_down = serializers.IntegerField()
    comments = serializers.ListField(child=serializers.CharField(), help_text="The newest hundred of all categories.")


class BotUsageSerializer(FiguresSerializer):
    uses = serializers.IntegerField(help_text="Questions that people have ever asked the bot.")
    people = serializers.IntegerField(help_text="Those who have asked it in these hours; keys of its API are nobody.")
    days = DayFiguresSerializer(many=True)
    feedback = OpinionsSerializer(many=True)


class BotUsageViewSet(WireViewSet):
    """How a bot is used."""

    @extend_schema(
        operation_id="get_bot_usage",
        summary="How a bot is used, and what it costs",
        description="For its owner and Admin. Uses are of all time; people, the days, and what people thought of their "
        "messages, are of the hours that are sent, else of the last thirty days. Nobody is named or quoted.",
        tags=["bot"],
        parameters=[HoursQuerySerializer],
        responses={200: BotUsageSerializer, **errors(400, 404)},
    )
    def retrieve(self, request: Request, bot_id: str) -> Response:
        query = validated(HoursQuerySerializer, request.query_params)
        usage = figures.usage_of(bot_id, hours=query["hours"], actor=caller_of(request))
        return Response(_rendered(usage))


def _rendered(usage: BotUsage) -> dict[str, Any]:
    """How a bot is used, day by day and in all."""
    return {
        "uses": usage.uses,
        "people": usage.people,
        **_figures(Figures.total(usage.days.values())),
        "days": [{"day": day.isoformat(), **_figures(figures)} for day, figures in usage.days.items()],
        "feedback": [
            {
                "category": opinions.category,
                "thumbsUp": opinions.thumbs_up,
                "thumbsDown": opinions.thumbs_down,
                "comments": opinions.comments,
            }
            for opinions in usage.opinions
        ],
    }


def _figures(sums: Figures) -> dict[str, Any]:
    """As `Figures.document`, with the price as the wire has prices."""
    document = sums.document()
    names = ("calls", "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens", "unpricedCalls")
    return {**{name: document[name] for name in names}, "totalPrice": float(sums.price)}

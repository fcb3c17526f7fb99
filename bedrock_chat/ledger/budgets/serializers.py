"""The shape of `GET /budget`, for the OpenAPI document."""

from typing import Any

from rest_framework import serializers

from bedrock_chat.ledger.budgets.models import PayerKind, Period, Unit


class BudgetSerializer(serializers.Serializer[Any]):
    payer = serializers.ChoiceField(choices=[PayerKind.USER.value, PayerKind.GROUP.value])
    group = serializers.CharField(allow_null=True, help_text="The group's name; null for the caller's own budget.")
    unit = serializers.ChoiceField(choices=Unit.values)
    period = serializers.ChoiceField(choices=Period.values)
    hard = serializers.BooleanField(help_text="Whether it refuses what comes after; a soft one only tells of it.")
    limit = serializers.FloatField(help_text="USD or tokens.")
    used = serializers.FloatField()
    reserved = serializers.FloatField(help_text="What calls under way may still use.")
    remaining = serializers.FloatField(help_text="The limit without what was used, never below 0.")
    exceeded = serializers.BooleanField(help_text="Whether as much was used as may, or more.")
    starts_at = serializers.FloatField(help_text="Epoch milliseconds.")
    ends_at = serializers.FloatField(help_text="When it begins anew.")


class UsedSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField()
    unpriced_calls = serializers.IntegerField(help_text="Calls whose price nobody knows; they are not in `price`.")
    price = serializers.FloatField(help_text="USD.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_write_tokens = serializers.IntegerField()


class UsedByModelSerializer(UsedSerializer):
    model = serializers.CharField()


class UsedByBotSerializer(UsedSerializer):
    bot_id = serializers.CharField(allow_null=True, help_text="Null for conversations without a bot.")


class SpendingSerializer(serializers.Serializer[Any]):
    budgets = BudgetSerializer(many=True)
    since = serializers.FloatField(help_text="When the month began, in epoch milliseconds.")
    used = UsedSerializer(help_text="What the caller's calls used this month, those of their published APIs included.")
    by_model = UsedByModelSerializer(many=True)
    by_bot = UsedByBotSerializer(many=True)

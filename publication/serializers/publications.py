"""Shapes of publications and keys on the wire, and the validation of their fields, in both spellings."""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from rest_framework import serializers
from rest_framework.fields import empty

from bedrock_chat.wire.fields import BoundedListField, ChoiceField, NumberField, TextField, WholeField
from bots.serializers.parts import LONGEST_TOOL_SECONDS, MOST_TOOL_ROUNDS
from publication.models import LONGEST_DESCRIPTION, STAGE_LENGTH, LimitsScope, Period

LARGEST = 10**12
LARGEST_RATE = 1_000_000.0
LARGEST_BURST = 1_000_000
MOST_ORIGINS = 100
MOST_NETWORKS = 100
LONGEST_OVERLAP = 24 * 365

_STAGE = re.compile(rf"[A-Za-z0-9_-]{{1,{STAGE_LENGTH}}}")


class StageField(TextField):
    """A part of the API's address."""

    def to_internal_value(self, data: Any) -> str:
        stage = super().to_internal_value(data)
        if not _STAGE.fullmatch(stage):
            raise serializers.ValidationError(f"Expected 1 to {STAGE_LENGTH} of the characters A-Z a-z 0-9 _ -")
        return stage


DEFAULT_PORTS = {"http": 80, "https": 443}


class OriginField(TextField):
    """`*`, or an origin: a scheme, a host and perhaps a port, and nothing behind them.

    It is kept as browsers send it: in small letters, and without the port that the scheme has anyway.
    """

    def run_validation(self, data: Any = empty) -> Any:
        origin = super().run_validation(data)
        if origin == "*":
            return origin
        try:
            parts = urlsplit(origin)
            is_origin = (
                parts.scheme in ("http", "https")
                and bool(parts.hostname)
                and origin.lower() == f"{parts.scheme}://{parts.netloc}".lower()
                and origin.isascii()
                and " " not in origin
            )
            is_usual_port = parts.port == DEFAULT_PORTS.get(parts.scheme)
        except ValueError:
            is_origin = False
        if not is_origin or "@" in origin:
            raise serializers.ValidationError("Expected an origin such as https://app.example.com, or *.")
        return (origin.removesuffix(f":{parts.port}") if is_usual_port else origin).lower()


class NetworkField(TextField):
    """An IPv4 or IPv6 network, or one address. Those of mapped IPv4 addresses are kept as clients' addresses are."""

    def run_validation(self, data: Any = empty) -> Any:
        text = super().run_validation(data)
        try:
            network = ipaddress.ip_network(text.strip())
        except ValueError:
            raise serializers.ValidationError("Expected a network such as 192.0.2.0/24.") from None
        mapped = network.network_address.ipv4_mapped if network.version == 6 else None
        return str(network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96)))


class QuotaSerializer(serializers.Serializer[Any]):
    """Requests in a period of UTC. All null: unlimited."""

    limit = WholeField(required=False, allow_null=True, min_value=1, max_value=LARGEST, default=None)
    offset = WholeField(required=False, allow_null=True, min_value=0, max_value=LARGEST, default=None)
    period = ChoiceField(choices=Period.values, required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["limit"] is None) != (attrs["period"] is None):
            raise serializers.ValidationError("A quota has both a limit and a period, or neither.")
        if attrs["limit"] is not None and (attrs["offset"] or 0) > attrs["limit"]:
            raise serializers.ValidationError({"offset": "It may not be more than the limit."})
        return attrs


class ThrottleSerializer(serializers.Serializer[Any]):
    """A bucket of `burstLimit` tokens that fills with `rateLimit` a second. Both null: unlimited."""

    rate_limit = NumberField(required=False, allow_null=True, max_value=LARGEST_RATE, default=None)
    burst_limit = WholeField(required=False, allow_null=True, min_value=1, max_value=LARGEST_BURST, default=None)

    def validate_rate_limit(self, rate: float | None) -> float | None:
        if rate is not None and rate < 0.001:
            raise serializers.ValidationError("Expected at least 0.001 requests per second.")
        return rate

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["rate_limit"] is None) != (attrs["burst_limit"] is None):
            raise serializers.ValidationError("A throttle has both a rateLimit and a burstLimit, or neither.")
        return attrs


class PublicationSettingsSerializer(serializers.Serializer[Any]):
    """What may be set of a publication."""

    stage = StageField(required=False, allow_null=True)
    quota = QuotaSerializer(required=False)
    throttle = ThrottleSerializer(required=False)
    allowed_origins = BoundedListField(child=OriginField(max_length=512), max_length=MOST_ORIGINS, required=False)
    allowed_networks = BoundedListField(child=NetworkField(max_length=64), max_length=MOST_NETWORKS, required=False)
    limits_scope = ChoiceField(choices=LimitsScope.values, required=False)
    store_open_aI = serializers.BooleanField(  # noqa: N815  the parser's spelling of `storeOpenAI`
        source="store_openai", required=False, help_text="Keep chat completions of OpenAI clients as conversations."
    )

    tool_rounds = WholeField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=MOST_TOOL_ROUNDS,
        help_text="How many rounds with tools an answer may have, at most as many as the bot's; `null`: as many.",
    )
    tool_seconds = WholeField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=LONGEST_TOOL_SECONDS,
        help_text="How long a call of a tool may take, at most as long as the bot's; `null`: as long.",
    )

    def columns(self) -> dict[str, Any]:
        """The columns of a Publication that were sent, when the data was validated."""
        sent: dict[str, Any] = dict(self.validated_data)
        quota, throttle = sent.pop("quota", None), sent.pop("throttle", None)
        if sent.get("stage", "") is None:
            del sent["stage"]
        if quota is not None:
            sent |= {
                "quota_limit": quota["limit"],
                "quota_offset": quota["offset"] or 0,
                "quota_period": quota["period"],
            }
        return sent if throttle is None else sent | throttle


class PublishInputSerializer(PublicationSettingsSerializer):
    quota = QuotaSerializer()
    throttle = ThrottleSerializer()
    allowed_origins = BoundedListField(child=OriginField(max_length=512), max_length=MOST_ORIGINS)


class PublicationChangeSerializer(PublicationSettingsSerializer):
    bot_version = WholeField(
        required=False, allow_null=True, min_value=1, max_value=LARGEST, help_text="`null`: follow the bot."
    )


class QuotaOutputSerializer(serializers.Serializer[Any]):
    limit = serializers.IntegerField(allow_null=True)
    offset = serializers.IntegerField(allow_null=True)
    period = serializers.ChoiceField(choices=Period.values, allow_null=True)


class ThrottleOutputSerializer(serializers.Serializer[Any]):
    rate_limit = serializers.FloatField(allow_null=True)
    burst_limit = serializers.IntegerField(allow_null=True)


class PublicationSerializer(serializers.Serializer[Any]):
    stage = serializers.CharField()
    quota = QuotaOutputSerializer()
    throttle = ThrottleOutputSerializer()
    allowed_origins = serializers.ListField(child=serializers.CharField())
    allowed_networks = serializers.ListField(child=serializers.CharField())
    limits_scope = serializers.ChoiceField(choices=LimitsScope.values)
    store_open_aI = serializers.BooleanField()  # noqa: N815  the parser's spelling of `storeOpenAI`
    bot_version = serializers.IntegerField(allow_null=True, help_text="Null: the API follows the bot.")
    tool_rounds = serializers.IntegerField(allow_null=True)
    tool_seconds = serializers.IntegerField(allow_null=True)
    cfn_status = serializers.CharField()
    codebuild_id = serializers.CharField()
    codebuild_status = serializers.CharField()
    endpoint = serializers.CharField()
    api_key_ids = serializers.ListField(child=serializers.CharField())


class KeyInputSerializer(serializers.Serializer[Any]):
    description = TextField(max_length=LONGEST_DESCRIPTION, allow_blank=True)
    expires_at = WholeField(
        required=False, allow_null=True, min_value=0, max_value=10**14, help_text="Epoch milliseconds."
    )


class KeyChangeSerializer(serializers.Serializer[Any]):
    description = TextField(max_length=LONGEST_DESCRIPTION, allow_blank=True, required=False)
    enabled = serializers.BooleanField(required=False)
    expires_at = WholeField(
        required=False, allow_null=True, min_value=0, max_value=10**14, help_text="Epoch milliseconds; `null`: never."
    )


class RotationSerializer(serializers.Serializer[Any]):
    overlap_hours = NumberField(
        required=False, default=24, min_value=0, max_value=LONGEST_OVERLAP, help_text="How long the old key works."
    )


class TopUpSerializer(serializers.Serializer[Any]):
    requests = WholeField(min_value=1, max_value=LARGEST)


class KeySerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    description = serializers.CharField()
    value = serializers.CharField(help_text="Empty where no copy is kept (API_KEY_REVEAL=once).")
    enabled = serializers.BooleanField()
    created_date = serializers.IntegerField(help_text="Epoch milliseconds.")
    expires_at = serializers.IntegerField(allow_null=True, help_text="Epoch milliseconds.")
    last_used_at = serializers.IntegerField(allow_null=True, help_text="Epoch milliseconds, to a minute.")
    last_used_address = serializers.CharField()
    last_used_agent = serializers.CharField()


class ListedKeySerializer(KeySerializer):
    value = None  # type: ignore[assignment]  # a list shows no values
    lineage = serializers.CharField(help_text="The first key of the rotations that led to this one.")
    replaced_by = serializers.CharField(allow_null=True, help_text="The key that a rotation made in its place.")


class PublishedBotSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    published_stack_name = serializers.CharField(allow_null=True)
    published_datetime = serializers.IntegerField(allow_null=True, help_text="Epoch milliseconds.")
    owner_user_id = serializers.CharField()
    shared_scope = serializers.CharField()
    shared_status = serializers.CharField()


class PublishedBotsSerializer(serializers.Serializer[Any]):
    bots = PublishedBotSerializer(many=True)
    next_token = serializers.CharField(allow_null=True)

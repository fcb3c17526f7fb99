"""What the routes of reports take: hours, and how many rows."""

from datetime import datetime
from typing import Any

from rest_framework import serializers

from bedrock_chat.wire.fields import DigitsField

USUAL, MOST = 100, 1000
HOUR_DIGITS = 10
FIRST_YEAR, LAST_YEAR = 2000, 2200


def _hour(text: str) -> datetime:
    """An hour written `YYYYMMDDHH`, naive: the server's setting REPORT_TIME_ZONE says of which zone."""
    if len(text) == HOUR_DIGITS and text.isascii() and text.isdecimal():
        try:
            hour = datetime.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[8:]}")
        except ValueError:
            hour = None
        if hour is not None and FIRST_YEAR <= hour.year <= LAST_YEAR:
            return hour
    raise serializers.ValidationError("An hour is written YYYYMMDDHH, such as 2026113009.")


def _hour_field(help_text: str) -> serializers.CharField:
    return serializers.CharField(required=False, allow_null=True, default=None, max_length=64, help_text=help_text)


class HoursQuerySerializer(serializers.Serializer[Any]):
    """`hours` is the first and the last hour, or None where neither was sent."""

    start = _hour_field("The first hour of the setting REPORT_TIME_ZONE, as `YYYYMMDDHH`.")
    end = _hour_field("The last hour, included. Send both or neither.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        texts = attrs.pop("start"), attrs.pop("end")
        if None in texts:
            if texts != (None, None):
                raise serializers.ValidationError("Send both start and end, or neither.")
            return {**attrs, "hours": None}
        first, last = map(_hour, texts)
        if last < first:
            raise serializers.ValidationError("start must not be after end.")
        return {**attrs, "hours": (first, last)}


class RankingQuerySerializer(HoursQuerySerializer):
    limit = DigitsField(required=False, default=USUAL, min_value=1, max_value=MOST)

"""Queries of the store. Its answers are lists of bots, as `bots` documents them."""

from typing import Any, Final

from rest_framework import serializers

from bots.serializers.bots import MOST_LISTED

USUAL: Final = 20
LONGEST_QUERY: Final = 10_000


class StoreQuerySerializer(serializers.Serializer[Any]):
    limit = serializers.IntegerField(
        required=False, default=USUAL, min_value=1, max_value=MOST_LISTED, help_text="At most so many."
    )


class StoreSearchSerializer(StoreQuerySerializer):
    query = serializers.CharField(
        allow_blank=True,
        max_length=LONGEST_QUERY,
        help_text="Words; no character is an operator. The first 32 words count. Without a word, nothing is found.",
    )

"""People and groups with whom a bot can be shared."""

from typing import Any, Final

from rest_framework import serializers

LONGEST_PREFIX: Final = 100
"""Characters. Cognito's filters have 256 at most, and a prefix may be twice as long there, with all of it escaped."""


class PrefixSerializer(serializers.Serializer[Any]):
    prefix = serializers.CharField(allow_blank=True, max_length=LONGEST_PREFIX, help_text="A blank one finds nothing.")


class PersonSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="By which a bot is shared.")
    name = serializers.CharField(help_text="The user name.")
    email = serializers.CharField(allow_blank=True)


class GroupSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)

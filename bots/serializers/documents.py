"""The document that a bot travels as. Its names are all that there may be: `transfer.documents` refuses any other.

What an export leaves out has no field here: keys of tools, the guardrail's ARN and version, scope and people.
"""

import re
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from bedrock_chat.wire.fields import BoundedListField, ChoiceField, TextField, WholeField
from bots import files
from bots.serializers import parts
from bots.serializers.bots import BotContentSerializer, BotIdField
from bots.serializers.knowledge import MOST_FILES, KnowledgeSerializer
from bots.serializers.shapes import Shapes

SCHEMA = "bedrock-chat-bot"
VERSION = 1
LONGEST_OWNER = 256

_DIGEST = re.compile(r"[0-9a-f]{64}")


class KeylessFirecrawlConfigSerializer(serializers.Serializer[Any]):
    max_results = WholeField(min_value=1, max_value=100, default=10)


class KeylessInternetToolSerializer(parts.InternetToolSerializer):
    firecrawl_config = KeylessFirecrawlConfigSerializer(  # type: ignore[assignment]  # without the key
        required=False, allow_null=True, default=None
    )


KEYLESS_TOOLS: Shapes = {**parts.TOOLS, "internet": KeylessInternetToolSerializer}


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="KeylessTool", serializers=dict(KEYLESS_TOOLS), resource_type_field_name="tool_type"
    )
)
class KeylessToolField(parts.ToolField):
    shapes = KEYLESS_TOOLS


class KeylessAgentSerializer(serializers.Serializer[Any]):
    tools = BoundedListField(child=KeylessToolField(), max_length=parts.MOST_TOOLS)


class ThresholdsSerializer(parts.GuardrailsSerializer):
    guardrail_arn = None  # type: ignore[assignment]  # a document has none
    guardrail_version = None  # type: ignore[assignment]  # a document has none


class AddressesSerializer(KnowledgeSerializer):
    filenames = None  # type: ignore[assignment]  # a document has none: `files` are beside it


class DigestField(TextField):
    def to_internal_value(self, data: Any) -> str:
        digest = super().to_internal_value(data)
        if not _DIGEST.fullmatch(digest):
            raise serializers.ValidationError("Expected a SHA-256: 64 digits of 0-9 and a-f.")
        return digest


class NamedFileSerializer(serializers.Serializer[Any]):
    filename = TextField(max_length=files.LONGEST_NAME)
    digest = DigestField(help_text="SHA-256 of its bytes.")
    size = WholeField(min_value=0, max_value=2**40, help_text="Bytes.")


class DocumentBotSerializer(BotContentSerializer):
    """What a creation may send. What is absent is as in a new bot."""

    agent = KeylessAgentSerializer(  # type: ignore[assignment]  # without keys
        allow_null=True, required=False
    )
    bedrock_guardrails = ThresholdsSerializer(allow_null=True, required=False)
    knowledge = AddressesSerializer(allow_null=True, required=False)
    files = BoundedListField(child=NamedFileSerializer(), max_length=MOST_FILES, required=False)


class OwnerSerializer(serializers.Serializer[Any]):
    id = TextField(max_length=LONGEST_OWNER)
    username = TextField(max_length=LONGEST_OWNER, allow_blank=True)


class DocumentSerializer(serializers.Serializer[Any]):
    schema = ChoiceField(choices=[SCHEMA])
    version = WholeField(min_value=VERSION, max_value=VERSION)
    id = BotIdField(required=False, help_text="Kept by `manage.py import_bots` alone.")
    owner = OwnerSerializer(required=False, help_text="Written and read by `manage.py` alone.")
    bot = DocumentBotSerializer()

"""Shapes of bots on the wire: requests, which are validated here, and responses, which are only documented here."""

import re
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers

from bedrock_chat.wire.fields import BoundedListField, ChoiceField, DigitsField, TextField, WholeField
from bots.models import BOT_ID_LENGTH, GRANTEE_LENGTH, LAST_PIN, LONGEST_TITLE, Scope, SyncStatus
from bots.serializers import parts
from bots.serializers.knowledge import (
    FileSerializer,
    KnowledgeBaseSerializer,
    KnowledgeDiffSerializer,
    KnowledgeSerializer,
)
from bots.serializers.shapes import Shapes

LONGEST_DESCRIPTION = 10_000
LONGEST_INSTRUCTION = 1_000_000
MOST_GRANTS = 500
MOST_LISTED = 100

RESERVED_IDS = frozenset({"new", "pinned", "private", "public", "summary", "import"})
"""Words that stand in the place of an id in routes."""

_BOT_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{BOT_ID_LENGTH}}}")


def is_bot_id(text: str) -> bool:
    return bool(_BOT_ID.fullmatch(text)) and text not in RESERVED_IDS


class BotIdField(TextField):
    """An id for a new bot, chosen by the client."""

    def to_internal_value(self, data: Any) -> str:
        bot_id = super().to_internal_value(data)
        if not _BOT_ID.fullmatch(bot_id):
            raise serializers.ValidationError(
                f"Expected 1 to {BOT_ID_LENGTH} letters, digits, hyphens and underscores."
            )
        if bot_id in RESERVED_IDS:
            raise serializers.ValidationError("This word is no id.")
        return bot_id


# ---- Requests -------------------------------------------------------------------------------------------------------


class BotContentSerializer(serializers.Serializer[Any]):
    """What a creation and an edit have in common. An edit keeps what is absent."""

    title = TextField(max_length=LONGEST_TITLE)
    instruction = TextField(max_length=LONGEST_INSTRUCTION, allow_blank=True)
    description = TextField(max_length=LONGEST_DESCRIPTION, allow_blank=True, allow_null=True, required=False)
    generation_params = parts.GenerationParamsSerializer(
        allow_null=True, required=False, help_text="`null`: the defaults of each model."
    )
    agent = parts.AgentSerializer(allow_null=True, required=False)
    display_retrieved_chunks = serializers.BooleanField(required=False)
    conversation_quick_starters = BoundedListField(
        child=parts.QuickStarterSerializer(), max_length=parts.MOST_STARTERS, allow_null=True, required=False
    )
    bedrock_knowledge_base = KnowledgeBaseSerializer(allow_null=True, required=False)
    bedrock_guardrails = parts.GuardrailsSerializer(allow_null=True, required=False)
    active_models = parts.ActiveModelsField(
        required=False, help_text="Models by name; those that are absent count as true."
    )
    prompt_caching_enabled = serializers.BooleanField(required=False)
    tool_rounds = WholeField(
        min_value=1,
        max_value=parts.MOST_TOOL_ROUNDS,
        allow_null=True,
        required=False,
        help_text="The most rounds with tools of an answer; `null`: as many as the server allows.",
    )
    tool_seconds = WholeField(
        min_value=1,
        max_value=parts.LONGEST_TOOL_SECONDS,
        allow_null=True,
        required=False,
        help_text="The longest call of a tool; `null`: as long as the server allows.",
    )
    allow_cloning = serializers.BooleanField(
        required=False, help_text="Whether those who may use the bot may have one like it, and so read its instruction."
    )


class BotInputSerializer(BotContentSerializer):
    id = BotIdField(help_text="Chosen by the client, once and for ever.")
    knowledge = KnowledgeSerializer(allow_null=True, required=False)


class BotModifyInputSerializer(BotContentSerializer):
    title = TextField(max_length=LONGEST_TITLE, required=False)
    instruction = TextField(max_length=LONGEST_INSTRUCTION, allow_blank=True, required=False)
    knowledge = KnowledgeDiffSerializer(allow_null=True, required=False)
    base_version = WholeField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=parts.LARGEST_SIZE,
        help_text="The version that this edit is based on: a 409 if there is a newer one.",
    )


class CloneInputSerializer(serializers.Serializer[Any]):
    id = BotIdField(required=False, help_text="Absent: a new one.")
    title = TextField(max_length=LONGEST_TITLE, required=False, help_text="Absent: that of the bot.")


class ExportQuerySerializer(serializers.Serializer[Any]):
    files = serializers.BooleanField(required=False, default=False, help_text="Whether the files come, too, in a zip.")


class StarredInputSerializer(serializers.Serializer[Any]):
    starred = serializers.BooleanField()


class PrivateVisibilitySerializer(serializers.Serializer[Any]):
    target_shared_scope = ChoiceField(choices=[Scope.PRIVATE.value])


class PartialVisibilitySerializer(serializers.Serializer[Any]):
    target_shared_scope = ChoiceField(choices=[Scope.PARTIAL.value])
    target_allowed_user_ids = BoundedListField(child=TextField(max_length=GRANTEE_LENGTH), max_length=MOST_GRANTS)
    target_allowed_group_ids = BoundedListField(child=TextField(max_length=GRANTEE_LENGTH), max_length=MOST_GRANTS)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs["target_allowed_user_ids"]) + len(attrs["target_allowed_group_ids"]) > MOST_GRANTS:
            raise serializers.ValidationError(f"A bot is shared with at most {MOST_GRANTS} users and groups.")
        return attrs


class AllVisibilitySerializer(serializers.Serializer[Any]):
    target_shared_scope = ChoiceField(choices=[Scope.ALL.value])


VISIBILITIES: Shapes = {
    Scope.PRIVATE.value: PrivateVisibilitySerializer,
    Scope.PARTIAL.value: PartialVisibilitySerializer,
    Scope.ALL.value: AllVisibilitySerializer,
}
VISIBILITY = PolymorphicProxySerializer(
    component_name="Visibility", serializers=dict(VISIBILITIES), resource_type_field_name="target_shared_scope"
)


class PinInputSerializer(serializers.Serializer[Any]):
    to_pinned = serializers.BooleanField()
    order = WholeField(min_value=0, max_value=LAST_PIN)


class UnpinInputSerializer(serializers.Serializer[Any]):
    to_pinned = serializers.BooleanField()


PUSHED = PolymorphicProxySerializer(
    component_name="Pushed", serializers=[PinInputSerializer, UnpinInputSerializer], resource_type_field_name=None
)


class ListQuerySerializer(serializers.Serializer[Any]):
    kind = ChoiceField(choices=["private", "mixed"], required=False, default="private")
    starred = serializers.BooleanField(required=False, default=False, help_text="Those with your star alone.")
    limit = DigitsField(required=False, default=0, min_value=0, max_value=MOST_LISTED, help_text="0 counts as absent.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["kind"] == "mixed" and bool(attrs["limit"]) == attrs["starred"]:
            raise serializers.ValidationError("With kind=mixed, send either limit or starred.")
        return attrs


# ---- Responses ------------------------------------------------------------------------------------------------------


def _moment() -> serializers.FloatField:
    return serializers.FloatField(help_text="Epoch milliseconds.")


def _warnings() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(), help_text="What the settings ask for and does not happen, a sentence each."
    )


class SharedSerializer(serializers.Serializer[Any]):
    shared_scope = serializers.ChoiceField(choices=Scope.values)
    shared_status = serializers.CharField(help_text="unshared, shared, or `pinned@` and three digits.")


class BotOfCallerSerializer(SharedSerializer):
    """A bot, with what the caller has to do with it."""

    id = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    create_time = _moment()
    last_used_time = _moment()
    is_starred = serializers.BooleanField()
    owned = serializers.BooleanField()
    sync_status = serializers.ChoiceField(choices=SyncStatus.values)


class BotMetaSerializer(BotOfCallerSerializer):
    available = serializers.BooleanField(help_text="False where the bot is gone or not yours to use any more.")


class BotSummarySerializer(BotOfCallerSerializer):
    has_agent = serializers.BooleanField()
    has_knowledge = serializers.BooleanField()
    conversation_quick_starters = parts.QuickStarterSerializer(many=True)
    active_models = parts.ActiveModelsField()
    warnings = _warnings()


class KnowledgeBaseOutputSerializer(KnowledgeBaseSerializer):
    data_source_ids = serializers.ListField(child=serializers.CharField(), allow_null=True)


class BotContentOutputSerializer(serializers.Serializer[Any]):
    """What a version keeps."""

    id = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    instruction = serializers.CharField()
    generation_params = parts.GenerationParamsSerializer()
    agent = parts.AgentSerializer()
    knowledge = KnowledgeSerializer()
    files = FileSerializer(many=True)
    prompt_caching_enabled = serializers.BooleanField()
    display_retrieved_chunks = serializers.BooleanField()
    tool_rounds = serializers.IntegerField(allow_null=True)
    tool_seconds = serializers.IntegerField(allow_null=True)
    conversation_quick_starters = parts.QuickStarterSerializer(many=True)
    bedrock_knowledge_base = KnowledgeBaseOutputSerializer(allow_null=True)
    bedrock_guardrails = parts.GuardrailsSerializer(allow_null=True)
    active_models = parts.ActiveModelsField()
    version = serializers.IntegerField(help_text="The number of the newest version.")
    warnings = _warnings()


class BotModifyOutputSerializer(BotContentOutputSerializer):
    allow_cloning = serializers.BooleanField()


class AdministeredBotSerializer(SharedSerializer):
    """What the owner's and Admin's view of a bot have in common beside its content."""

    create_time = _moment()
    last_used_time = _moment()
    owner_user_id = serializers.CharField()
    allowed_cognito_groups = serializers.ListField(child=serializers.CharField())
    allowed_cognito_users = serializers.ListField(child=serializers.CharField())
    sync_status = serializers.ChoiceField(choices=SyncStatus.values)
    sync_status_reason = serializers.CharField()
    sync_last_exec_id = serializers.CharField()


class BotSerializer(BotModifyOutputSerializer, AdministeredBotSerializer):
    is_publication = serializers.BooleanField()


class AdminBotSerializer(AdministeredBotSerializer):
    id = serializers.CharField()
    title = serializers.CharField()
    instruction = serializers.CharField()
    description = serializers.CharField()
    knowledge = KnowledgeSerializer()


class RemovedSerializer(serializers.Serializer[Any]):
    message = serializers.CharField()


class VersionMetaSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    title = serializers.CharField()
    create_time = _moment()
    author_user_id = serializers.CharField()
    changed = serializers.ListField(
        child=serializers.CharField(), help_text="The fields that differ from the version before; none of the first."
    )


class FieldChangeSerializer(serializers.Serializer[Any]):
    before = serializers.JSONField(allow_null=True)
    after = serializers.JSONField(allow_null=True)


class SpendingBotSerializer(SharedSerializer):
    id = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    is_published = serializers.BooleanField()
    published_datetime = serializers.IntegerField(allow_null=True, help_text="Epoch milliseconds.")
    owner_user_id = serializers.CharField()
    total_price = serializers.FloatField(help_text="USD. Calls of models without a price cost nothing here.")


class VersionSerializer(BotContentOutputSerializer):
    create_time = _moment()
    author_user_id = serializers.CharField()
    changed = serializers.ListField(child=serializers.CharField())
    changes = serializers.DictField(
        child=FieldChangeSerializer(allow_null=True),
        allow_null=True,
        help_text="By field: what it was in the version before, and is. `null` where that version is not kept. Of "
        "secrets nothing is told but that they differ.",
    )

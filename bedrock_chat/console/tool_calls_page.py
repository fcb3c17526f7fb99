"""The page of calls of tools, by value: never what they were asked or gave, since nothing of it is kept."""

from datetime import datetime

from django.contrib import admin

from bedrock_chat.console import writing
from bedrock_chat.console.filters import PeriodFilter, id_filter
from bedrock_chat.console.row_exports import ExportedList
from bedrock_chat.ledger.models import ToolCall


@admin.register(ToolCall)
class ToolCallAdmin(ExportedList):
    list_display = [
        "when",
        "tool",
        "kind",
        "server",
        "outcome",
        "took",
        "bytes_in",
        "bytes_out",
        "bot_id",
        "user_id",
        "key_id",
    ]
    list_filter = [
        PeriodFilter,
        id_filter("outcome", "outcome", "outcome"),
        id_filter("kind", "kind", "kind"),
        id_filter("tool", "tool", "tool"),
        id_filter("server", "server", "server"),
        id_filter("payer", "payer_id", "who pays"),
        id_filter("user", "user_id", "person"),
        id_filter("bot", "bot_id", "bot"),
        id_filter("key", "key_id", "API key"),
        id_filter("conversation", "conversation_external_id", "conversation"),
    ]
    indexed_filters = frozenset({"payer"})
    time_column = "created_at"
    exported = tuple(field.name for field in ToolCall._meta.concrete_fields)
    export_name = "tool-calls"
    empty_text = "Each call of a tool is a row here. Give a bot a tool and ask it something that needs one."

    @admin.display(description="when")
    def when(self, row: ToolCall) -> datetime:
        return row.created_at

    @admin.display(description="took")
    def took(self, row: ToolCall) -> str:
        return writing.milliseconds(row.duration_ms)

"""The page of calls of tools, by value: never what they were asked or gave, since nothing of it is kept."""

import csv
import io
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from bedrock_chat.console import writing
from bedrock_chat.console.filters import PeriodFilter, id_filter
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin
from bedrock_chat.ledger.models import ToolCall

MOST_CSV_ROWS: Final = 50_000


@admin.register(ToolCall)
class ToolCallAdmin(KeyPagedReadOnlyAdmin):
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
        id_filter("tool", "tool", "tool"),
        id_filter("user", "user_id", "person"),
        id_filter("bot", "bot_id", "bot"),
        id_filter("key", "key_id", "API key"),
        id_filter("conversation", "conversation_external_id", "conversation"),
    ]
    actions = ["as_csv"]
    empty_text = "Each call of a tool is a row here. Give a bot a tool and ask it something that needs one."

    @admin.display(description="when")
    def when(self, row: ToolCall) -> datetime:
        return row.created_at

    @admin.display(description="took")
    def took(self, row: ToolCall) -> str:
        return writing.milliseconds(row.duration_ms)

    @admin.action(description=f"Download as CSV (the newest {MOST_CSV_ROWS:,} of those that are selected)")
    def as_csv(self, request: HttpRequest, rows: QuerySet[ToolCall]) -> HttpResponse:
        names = [field.name for field in ToolCall._meta.concrete_fields]
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(names)
        for row in rows.order_by("-pk").values_list(*names)[:MOST_CSV_ROWS]:
            writer.writerow([_of_a_cell(value) for value in row])
        headers = {"Content-Disposition": 'attachment; filename="tool-calls.csv"'}
        return HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8", headers=headers)


def _of_a_cell(value: Any) -> Any:
    """The value, in a form that no spreadsheet takes for a formula: ids are clients' words."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value

"""Console pages of conversations. They show metadata alone: what people write is theirs."""

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from bedrock_chat.console import ReadOnlyAdmin
from conversations.models import Conversation, ModelCall


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ["conversation_id", "user", "publication_id", "bot_id", "model", "messages_count", "updated_at"]
    list_filter = ["model"]
    list_select_related = ["user"]
    search_fields = ["=conversation_id", "=user__id", "=user__username"]
    ordering = ["-pk"]
    fields = ["conversation_id", "user", "publication_id", "bot_id", "model", "created_at", "updated_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        rows: QuerySet[Conversation] = super().get_queryset(request)
        return rows.annotate(messages_total=Count("messages"))

    @admin.display(description="messages")
    def messages_count(self, row: Conversation) -> int:
        count: int = row.messages_total  # type: ignore[attr-defined]  # annotated above
        return count


@admin.register(ModelCall)
class ModelCallAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "purpose",
        "user_id",
        "model",
        "input_tokens",
        "output_tokens",
        "usd",
        "latency_ms",
        "stop_reason",
        "fault",
    ]
    list_filter = ["purpose", "model", "fault", "estimated"]
    search_fields = ["=user_id", "=conversation_id", "=publication_id"]
    date_hierarchy = "created_at"
    ordering = ["-pk"]

    @admin.display(description="price (USD)", empty_value="unpriced")
    def usd(self, row: ModelCall) -> str | None:
        return None if row.price is None else f"{row.price:.6f}"

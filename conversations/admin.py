"""Console pages of conversations. They show metadata alone: what people write is theirs."""

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from bedrock_chat.console import roles
from bedrock_chat.console.site import ReadOnlyAdmin
from conversations.models import Conversation

roles.allow(roles.Role.VIEWER, "conversations.view_conversation")


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ["external_id", "user", "publication_id", "bot_id", "model", "messages_count", "updated_at"]
    list_filter = ["model"]
    list_select_related = ["user"]
    search_fields = ["=external_id", "=user__id", "=user__username"]
    ordering = ["-pk"]
    fields = ["external_id", "user", "publication_id", "bot_id", "model", "created_at", "updated_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        rows: QuerySet[Conversation] = super().get_queryset(request)
        return rows.annotate(messages_total=Count("messages"))

    @admin.display(description="messages")
    def messages_count(self, row: Conversation) -> int:
        count: int = row.messages_total  # type: ignore[attr-defined]  # annotated above
        return count

"""Console pages of conversations. They show metadata alone: what people write is theirs."""

from collections.abc import Iterator

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from bedrock_chat.console import roles, writing
from bedrock_chat.console.addresses import of_list
from bedrock_chat.console.panels import Figure
from bedrock_chat.console.registry import now
from bedrock_chat.console.site import ReadOnlyAdmin
from conversations.models import Conversation
from conversations.turn.measuring import RUNNING, figures

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


@now("turns", order=10, permission="conversations.view_conversation")
def turns(request: HttpRequest) -> Iterator[Figure]:
    """Turns of people that run in any process, by their leases. The newest conversations have them."""
    [running] = figures()[RUNNING].values()
    yield Figure("Turns running", writing.number(running), of_list("conversations.conversation"))

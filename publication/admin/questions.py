"""The console page of questions to published APIs: when they were accepted, and what has become of them."""

from functools import reduce
from operator import or_
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest

from bedrock_chat.bedrock.catalog import MODELS
from bedrock_chat.console import roles
from bedrock_chat.console.filters import choice_filter
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin
from publication.models import PublicationOwner, TurnRequest

roles.allow(roles.Role.VIEWER, "publication.view_turnrequest")


class DoneFilter(admin.SimpleListFilter):
    """Filters questions by what has become of them."""

    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "Waiting or running"), ("answered", "Answered"), ("failed", "Failed")]

    def queryset(self, request: HttpRequest, rows: QuerySet[TurnRequest]) -> QuerySet[TurnRequest]:
        match self.value():
            case "waiting":
                return rows.filter(done_at__isnull=True)
            case "answered":
                return rows.filter(done_at__isnull=False, reason="")
            case "failed":
                return rows.filter(done_at__isnull=False).exclude(reason="")
        return rows


@admin.register(TurnRequest)
class TurnRequestAdmin(KeyPagedReadOnlyAdmin):
    """When a question was accepted, and what has become of it. What was asked is on no page, nor for whom."""

    list_display = ["accepted_at", "bot", "key_id", "status", "model", "conversation"]
    list_filter = [
        DoneFilter,
        choice_filter("model", "model", "model", lambda: [(key, key) for key in sorted(MODELS)]),
    ]
    search_fields = ["publication_id", "key_id", "conversation_id", "message_id"]
    search_help_text = "The id of a publication, a key, a conversation or a message."
    empty_text = "What is asked of published APIs is here."
    open_columns = frozenset({"reason"})  # a sentence of the server's
    fields = [
        "bot",
        "publication_id",
        "key_id",
        "conversation_id",
        "message_id",
        "model",
        "continue_generate",
        "status",
        "reason",
        "accepted_at",
        "done_at",
    ]
    readonly_fields = ["bot", "status"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TurnRequest]:
        rows: QuerySet[TurnRequest] = super().get_queryset(request)
        published = PublicationOwner.objects.filter(publication_id=OuterRef("publication_id")).values("bot_id")
        return rows.defer("content", "user_label").annotate(published_bot_id=Subquery(published))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TurnRequest], search_term: str
    ) -> tuple[QuerySet[TurnRequest], bool]:
        """Whole ids. Django's would compare each without regard to case, which takes several times as long."""
        if not search_term:
            return queryset, False
        columns = (Q(**{column: search_term}) for column in self.search_fields)
        return queryset.filter(reduce(or_, columns)), False

    @admin.display(description="bot")
    def bot(self, row: TurnRequest) -> str | None:
        bot_id: str | None = row.published_bot_id  # type: ignore[attr-defined]  # annotated above
        return bot_id

    @admin.display(description="conversation")
    def conversation(self, row: TurnRequest) -> str:
        return row.conversation_id

    @admin.display(description="status")
    def status(self, row: TurnRequest) -> str:
        if row.done_at is None:
            return "waits or runs"
        return "failed" if row.reason else "answered"

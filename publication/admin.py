"""Console pages of published APIs, for looking things up. No page shows a key's value, or what was asked."""

from typing import Any, TypeVar

from django.contrib import admin
from django.db.models import Case, CharField, Count, F, Model, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import Truncator

from bedrock_chat.console import roles
from bedrock_chat.console.site import ReadOnlyAdmin, ReadOnlyRows
from publication import limits, operating
from publication.models import ApiKey, Gate, LimitsScope, Period, Publication, PublicationOwner, TurnRequest
from publication.operating import KeyState

roles.allow(
    roles.Role.VIEWER, "publication.view_publication", "publication.view_apikey", "publication.view_turnrequest"
)

Row = TypeVar("Row", bound=Model)

LONGEST_SHOWN = 80
NO_LIMIT = "none"


def _with_used(rows: "QuerySet[Row]", of_account: dict[str, Any], period: str) -> "QuerySet[Row]":
    """The rows with what was used of their quota in the present period, whose kind `period` leads to."""
    now = timezone.now()
    labels = [When(**{period: kind}, then=Value(limits.label_of(kind, now))) for kind in Period]
    accounts = Gate.objects.filter(**of_account, period=OuterRef("present")).exclude(account__endswith=limits.POLLS)
    used = accounts.order_by().values("publication_id").annotate(sum=Sum("used")).values("sum")
    present = Case(*labels, output_field=CharField())
    annotated: QuerySet[Row] = rows.annotate(present=present).annotate(used_total=Subquery(used))
    return annotated


class KeyRows(ReadOnlyRows):
    model = ApiKey
    verbose_name_plural = "keys"
    fields = ["id", "state", "lineage", "created_at", "expires_at", "last_used_at"]
    readonly_fields = ["state"]
    ordering = ["created_at", "pk"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        return rows.defer("digest", "encrypted_value")

    @admin.display(description="state")
    def state(self, row: ApiKey) -> str:
        return str(operating.state_of(row, timezone.now()))


@admin.register(Publication)
class PublicationAdmin(ReadOnlyAdmin):
    list_display = [
        "bot",
        "stage",
        "owner",
        "quota",
        "used",
        "throttle",
        "limits_scope",
        "keys_count",
        "created_at",
    ]
    list_filter = ["limits_scope", "quota_period"]
    list_select_related = ["bot__owner"]
    search_fields = ["=id", "=bot__id", "=bot__owner__id", "=bot__owner__username"]
    search_help_text = "The id of a publication or a bot, or the id or name of an owner."
    ordering = ["-created_at", "pk"]
    open_columns = frozenset({"allowed_origins", "allowed_networks"})
    fieldsets = [
        (None, {"fields": ["id", "bot", "owner", "stage", "version", "store_openai", "created_at"]}),
        ("Limits", {"fields": ["quota", "used", "throttle", "limits_scope"]}),
        ("From where", {"fields": ["origins", "networks"]}),
    ]
    readonly_fields = ["owner", "version", "quota", "used", "throttle", "origins", "networks"]
    inlines = [KeyRows]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Publication]:
        rows: QuerySet[Publication] = super().get_queryset(request)
        return _with_used(rows.annotate(keys_total=Count("keys")), {"publication_id": OuterRef("pk")}, "quota_period")

    @admin.display(description="owner", ordering="bot__owner__username")
    def owner(self, row: Publication) -> str:
        return str(row.bot.owner)

    @admin.display(description="version of the bot", ordering="bot_version")
    def version(self, row: Publication) -> str:
        return "as the bot is now" if row.bot_version is None else f"{row.bot_version}, pinned"

    @admin.display(description="quota", ordering="quota_limit")
    def quota(self, row: Publication) -> str:
        if row.quota_limit is None:
            return NO_LIMIT
        scope = " for each key" if row.limits_scope == LimitsScope.KEY else ""
        return f"{row.quota_limit:,} a {str(row.quota_period).lower()}{scope}"

    @admin.display(description="used in this period", ordering="used_total")
    def used(self, row: Publication) -> str:
        used = row.used_total or 0  # type: ignore[attr-defined]  # annotated above
        return NO_LIMIT if row.quota_limit is None else f"{used:,}"

    @admin.display(description="throttle", ordering="rate_limit")
    def throttle(self, row: Publication) -> str:
        return NO_LIMIT if row.rate_limit is None else f"{row.rate_limit:g} a second, {row.burst_limit:,} at once"

    @admin.display(description="allowed origins")
    def origins(self, row: Publication) -> str:
        return ", ".join(row.allowed_origins) or "none"

    @admin.display(description="allowed networks")
    def networks(self, row: Publication) -> str:
        return ", ".join(row.allowed_networks) or "all"

    @admin.display(description="keys", ordering="keys_total")
    def keys_count(self, row: Publication) -> int:
        count: int = row.keys_total  # type: ignore[attr-defined]  # annotated above
        return count


class StateFilter(admin.SimpleListFilter):
    """Filters keys by whether they open their API now."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state.capitalize()) for state in KeyState]

    def queryset(self, request: HttpRequest, rows: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        expired = Q(expires_at__lte=timezone.now())  # unknown where it is NULL, so it is asked for twice
        works = Q(is_enabled=True) & (Q(expires_at__isnull=True) | ~expired)
        match self.value():
            case KeyState.DISABLED:
                return rows.filter(is_enabled=False)
            case KeyState.EXPIRED:
                return rows.filter(expired, is_enabled=True)
            case KeyState.REPLACED:
                return rows.filter(works).exclude(replaced_by="")
            case KeyState.ACTIVE:
                return rows.filter(works, replaced_by="")
        return rows


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    list_display = ["id", "bot", "shown_description", "state", "used", "last_used_at", "expires_at", "created_at"]
    list_filter = [StateFilter]
    list_select_related = ["publication"]
    search_fields = ["=id", "=lineage", "=publication__id", "=publication__bot__id"]
    search_help_text = "The id of a key, a lineage, a publication or a bot; never a key's value."
    ordering = ["-created_at", "pk"]
    open_columns = frozenset({"description"})  # operators tell keys apart by it
    fieldsets = [
        (None, {"fields": ["id", "bot", "description", "state", "created_at", "expires_at"]}),
        ("Rotation", {"fields": ["lineage", "begun_at", "replaced_by"]}),
        ("Use", {"fields": ["used", "last_used_at", "last_used_address", "last_used_agent"]}),
    ]
    readonly_fields = ["bot", "state", "used"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        rows = rows.defer("digest", "encrypted_value")
        return _with_used(rows, {"account": OuterRef("lineage")}, "publication__quota_period")

    @admin.display(description="bot", ordering="publication__bot")
    def bot(self, row: ApiKey) -> str:
        return str(row.publication)

    @admin.display(description="description", ordering="description")
    def shown_description(self, row: ApiKey) -> str:
        return Truncator(row.description).chars(LONGEST_SHOWN)

    @admin.display(description="state")
    def state(self, row: ApiKey) -> str:
        return str(operating.state_of(row, timezone.now()))

    @admin.display(description="used in this period", ordering="used_total")
    def used(self, row: ApiKey) -> str:
        if row.publication.quota_limit is None:
            return NO_LIMIT
        if row.publication.limits_scope == LimitsScope.PUBLICATION:
            return "shared by all keys"
        return f"{row.used_total or 0:,}"  # type: ignore[attr-defined]  # annotated above


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
class TurnRequestAdmin(ReadOnlyAdmin):
    """When a question was accepted, and what has become of it. What was asked is on no page, nor for whom."""

    list_display = ["accepted_at", "bot", "key_id", "status", "model", "conversation"]
    list_filter = [DoneFilter, "model"]
    search_fields = ["=publication_id", "=key_id", "=conversation_id", "=message_id"]
    search_help_text = "The id of a publication, a key, a conversation or a message."
    ordering = ["-pk"]
    show_full_result_count = False
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

    @admin.display(description="bot")
    def bot(self, row: TurnRequest) -> str | None:
        bot_id: str | None = row.published_bot_id  # type: ignore[attr-defined]  # annotated above
        return bot_id

    @admin.display(description="conversation", ordering="conversation_id")
    def conversation(self, row: TurnRequest) -> str:
        return row.conversation_id

    @admin.display(description="status", ordering=F("done_at").asc())
    def status(self, row: TurnRequest) -> str:
        if row.done_at is None:
            return "waits or runs"
        return "failed" if row.reason else "answered"

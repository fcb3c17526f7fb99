"""The console pages of published APIs: their limits, what is used of them, and what operators do with them."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib import admin
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from bedrock_chat.console import roles
from bedrock_chat.console.confirming import ConfirmingPage
from bedrock_chat.console.site import ReadOnlyAdmin, ReadOnlyRows
from publication import operating
from publication.admin import used
from publication.admin.limits import ChangeLimits
from publication.admin.used import Used
from publication.admin.withdrawing import Withdraw
from publication.models import ApiKey, LimitsScope, Publication

roles.allow(roles.Role.VIEWER, "publication.view_publication")
roles.allow(roles.Role.SUPPORT, "publication.change_publication")
roles.allow(roles.Role.ADMIN, "publication.delete_publication")

NO_LIMIT = "none"


class KeyRows(ReadOnlyRows):
    model = ApiKey
    verbose_name_plural = "keys"
    fields = ["key", "state", "lineage", "created_at", "expires_at", "last_used_at"]
    readonly_fields = ["key", "state"]
    ordering = ["created_at", "pk"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        return rows.defer("digest", "encrypted_value")

    @admin.display(description="key")
    def key(self, row: ApiKey) -> str:
        return format_html(
            '<a class="underline" href="{}">{}</a>', reverse("admin:publication_apikey_change", args=(row.pk,)), row.pk
        )

    @admin.display(description="state")
    def state(self, row: ApiKey) -> str:
        return str(operating.state_of(row, timezone.now()))


@admin.register(Publication)
class PublicationAdmin(ConfirmingPage, ReadOnlyAdmin):
    confirmed = [ChangeLimits(), Withdraw()]
    empty_text = "Owners in the group PublishAllowed publish bots that are shared with everybody, over the API."
    list_display = [
        "bot",
        "stage",
        "owner",
        "quota",
        "shown_used",
        "throttle",
        "keys_count",
        "shown_last_use",
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
        ("Limits", {"fields": ["quota", "shown_used", "throttle", "limits_scope"]}),
        ("From where", {"fields": ["origins", "networks"]}),
    ]
    readonly_fields = ["owner", "version", "quota", "shown_used", "throttle", "origins", "networks"]
    inlines = [KeyRows]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Publication]:
        rows: QuerySet[Publication] = super().get_queryset(request)
        last_use = ApiKey.objects.filter(publication=OuterRef("pk")).order_by().values("publication")
        return rows.annotate(
            keys_total=Count("keys"),
            last_use=Subquery(last_use.annotate(last=Max("last_used_at")).values("last")),
        )

    def complete_page(self, request: HttpRequest, rows: Sequence[Publication]) -> None:
        """Adds what was used of the quotas of a page, in one query for all of them."""
        of_publications = used.of_publications(rows)
        for publication in rows:
            publication.used = of_publications.get(publication.pk)  # type: ignore[attr-defined]  # for `shown_used`

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Publication | None:
        publication: Publication | None = super().get_object(request, object_id, from_field)
        if publication is not None:
            self.complete_page(request, [publication])
        return publication

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

    @admin.display(description="used in this period")
    def shown_used(self, row: Publication) -> str:
        of_row: Used | None = row.used  # type: ignore[attr-defined]  # from `complete_page`
        is_one = of_row is not None and row.limits_scope == LimitsScope.KEY
        return format_html("{}{}", used.bar(of_row), " by the busiest key" if is_one else "")

    @admin.display(description="last use", ordering="last_use")
    def shown_last_use(self, row: Publication) -> datetime | None:
        at: datetime | None = row.last_use  # type: ignore[attr-defined]  # annotated above
        return at

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

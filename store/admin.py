"""The console page of the store: how popular each bot is, and whether the store knows it as it is."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import Truncator

from bedrock_chat.console import roles
from bedrock_chat.console.site import ReadOnlyAdmin
from bots import popularity
from store.models import NEVER, Listing

roles.allow(roles.Role.VIEWER, "store.view_listing")

LONGEST_SHOWN_TITLE = 80


@admin.register(Listing)
class ListingAdmin(ReadOnlyAdmin):
    list_display = ["bot", "title", "scope", "shown_popularity", "last_used", "is_indexed"]
    list_filter = ["is_everybodys"]
    list_select_related = ["bot"]
    search_fields = ["bot__id__exact"]
    search_help_text = "The id of a bot."
    ordering = ["-popularity", "-last_used_at", "bot_id"]
    open_columns = frozenset({"bot__title"})
    fields = ["bot", "title", "scope", "shown_popularity", "last_used", "is_indexed"]
    readonly_fields = ["title", "scope", "shown_popularity", "last_used", "is_indexed"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Listing]:
        """Only of bots that are there, and of these without what no page shows."""
        rows: QuerySet[Listing] = super().get_queryset(request)
        shown = ("bot__title", "bot__scope", "bot__is_indexed")
        return (
            rows.filter(bot__pk__isnull=False)
            .select_related("bot")
            .only("bot", "popularity", "last_used_at", "is_everybodys", *shown)
        )

    @admin.display(description="title", ordering="bot__title")
    def title(self, row: Listing) -> str:
        return Truncator(row.bot.title).chars(LONGEST_SHOWN_TITLE)

    @admin.display(description="scope", ordering="bot__scope")
    def scope(self, row: Listing) -> str:
        return row.bot.get_scope_display()

    @admin.display(description="popularity (one person's use of today is 1)", ordering="popularity")
    def shown_popularity(self, row: Listing) -> str:
        return f"{popularity.today(row.popularity, timezone.now()):.1f}"

    @admin.display(description="last turn", ordering="last_used_at")
    def last_used(self, row: Listing) -> Any:
        return None if row.last_used_at == NEVER else row.last_used_at

    @admin.display(description="indexed", boolean=True)
    def is_indexed(self, row: Listing) -> bool:
        return row.bot.is_indexed

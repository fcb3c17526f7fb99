"""Console pages of bots: operators manage bots, so they read all of one but its secrets.

Which person uses which bot is on no page; the page of a bot counts them.
"""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.defaultfilters import linebreaksbr
from django.utils.html import format_html
from django.utils.text import Truncator

from bedrock_chat.console import roles, writing
from bedrock_chat.console.confirming import ConfirmingPage
from bedrock_chat.console.site import ReadOnlyAdmin, ReadOnlyRows
from bedrock_chat.ledger.rollups import ranking, reading
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.ledger.rollups.models import Dimension
from bots.admin.editing import Edit
from bots.admin.filters import OrphanFilter, PinnedFilter, PublishedFilter
from bots.admin.ownership import Transfer
from bots.admin.restoring import Restore
from bots.admin.sharing import Pin, Unpin, Unshare
from bots.models import Bot, BotAlias, BotGrant, BotGuardrail, BotVersion, SyncStatus

roles.allow(roles.Role.VIEWER, "bots.view_bot", "bots.view_botgrant", "bots.view_botversion")
roles.allow(roles.Role.SUPPORT, "bots.pin_bot", "bots.unshare_bot")
roles.allow(roles.Role.ADMIN, "bots.change_bot", "bots.transfer_bot")

LONGEST_SHOWN_TITLE = 80
COST_DAYS = 30
"""Days whose cost the list shows, the last one today."""


class VersionRows(ReadOnlyRows):
    """Who changed what, and when. What a version holds, its bot's owner and Admin read over the API."""

    model = BotVersion
    verbose_name_plural = "versions that are kept"
    fields = ["number", "author_id", "fields_changed", "created_at"]
    readonly_fields = ["fields_changed"]
    ordering = ["-number"]
    open_columns = frozenset({"changed"})  # names of fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[BotVersion]:
        rows: QuerySet[BotVersion] = super().get_queryset(request)
        return rows.only("bot_id", "number", "author_id", "changed", "created_at")

    @admin.display(description="changed", ordering="changed")
    def fields_changed(self, row: BotVersion) -> str:
        return ", ".join(row.changed)


class GrantRows(ReadOnlyRows):
    model = BotGrant
    verbose_name_plural = "shared with (while the scope is partial)"
    fields = ["kind", "grantee"]
    ordering = ["pk"]


@admin.register(Bot)
class BotAdmin(ConfirmingPage, ReadOnlyAdmin):
    confirmed = [Edit(), Restore(), Pin(), Unpin(), Unshare(), Transfer()]
    list_display = [
        "id",
        "shown_title",
        "shown_owner",
        "scope",
        "questions",
        "cost",
        "status",
        "pinned_order",
        "created_at",
    ]
    list_filter = ["scope", PublishedFilter, PinnedFilter, OrphanFilter, "sync_status"]
    list_select_related = ["owner"]
    search_fields = ["id__exact", "owner__id__exact", "owner__username__exact"]
    search_help_text = "The id of a bot, or the id or name of an owner."
    ordering = ["-created_at", "pk"]
    open_columns = frozenset({"title", "description", "instruction", "configuration", "sync_status_reason"})
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "id",
                    "owner",
                    "title",
                    "description",
                    "scope",
                    "allow_cloning",
                    "pinned_order",
                    "published_at",
                    "sync_status",
                    "sync_status_reason",
                    "own_guardrail",
                    "created_at",
                    "updated_at",
                ]
            },
        ),
        ("Use", {"fields": ["people", "stars", "uses", "last_used"]}),
        ("Content", {"fields": ["version", "shown_instruction", "shown_configuration"]}),
    ]
    readonly_fields = [
        "own_guardrail",
        "people",
        "stars",
        "uses",
        "last_used",
        "shown_instruction",
        "shown_configuration",
    ]
    inlines = [GrantRows, VersionRows]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bot]:
        """Without what no list shows. The page of one bot reads it when it comes to it."""
        rows: QuerySet[Bot] = super().get_queryset(request)
        uses = BotAlias.objects.filter(bot=OuterRef("pk")).order_by().values("bot")
        return rows.defer("description", "instruction", "configuration", "encrypted_secrets").annotate(
            questions_total=Coalesce(Subquery(uses.annotate(sum=Sum("uses")).values("sum")), 0)
        )

    def complete_page(self, request: HttpRequest, rows: Sequence[Bot]) -> None:
        """Adds what the bots of one page of the list cost, in a few queries for all of them."""
        span = ranking.span_of(None, days=COST_DAYS)
        figures = reading.usage(span, by=Dimension.BOT, values=[bot.pk for bot in rows])
        for bot in rows:
            bot.spent = figures.get(bot.pk)  # type: ignore[attr-defined]  # for `cost`

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Bot | None:
        bot: Bot | None = super().get_object(request, object_id, from_field)
        if bot is not None:
            used = Q(last_used_at__isnull=False)
            bot.use = BotAlias.objects.filter(bot=bot).aggregate(  # type: ignore[attr-defined]  # for this page
                people=Count("pk", filter=used),
                stars=Count("pk", filter=Q(is_starred=True)),
                uses=Sum("uses", default=0),
                last_used=Max("last_used_at"),
            )
            bot.made = BotGuardrail.objects.filter(pk=bot.pk).exclude(arn="").first()  # type: ignore[attr-defined]
        return bot

    @admin.display(description="title", ordering="title")
    def shown_title(self, row: Bot) -> str:
        return Truncator(row.title).chars(LONGEST_SHOWN_TITLE)

    @admin.display(description="owner", ordering="owner__username")
    def shown_owner(self, row: Bot) -> str:
        return str(row.owner) if row.owner.is_active else f"{row.owner} (suspended)"

    @admin.display(description="questions", ordering="questions_total")
    def questions(self, row: Bot) -> int:
        total: int = row.questions_total  # type: ignore[attr-defined]  # annotated above
        return total

    @admin.display(description=f"cost of {COST_DAYS} days", empty_value="none")
    def cost(self, row: Bot) -> str | None:
        spent: Figures | None = row.spent  # type: ignore[attr-defined]  # from `complete_page`
        if spent is None:
            return None
        unpriced = f", {spent.unpriced:,} calls unpriced" if spent.unpriced else ""
        return f"{spent.price:,.4f} USD{unpriced}"

    @admin.display(description="status", ordering="sync_status")
    def status(self, row: Bot) -> str:
        words = {SyncStatus.SUCCEEDED: "ready", SyncStatus.FAILED: "failed"}
        return words.get(SyncStatus(row.sync_status), "being prepared")

    @admin.display(description="instruction", ordering="instruction")
    def shown_instruction(self, row: Bot) -> str:
        return linebreaksbr(row.instruction)

    @admin.display(description="configuration", ordering="configuration")
    def shown_configuration(self, row: Bot) -> str:
        shown = json.dumps(row.configuration, ensure_ascii=False, indent=2)
        return format_html('<pre class="console-pre">{}</pre>', shown)

    @admin.display(description="guardrail of its own in Bedrock")
    def own_guardrail(self, row: Bot) -> str | None:
        made: BotGuardrail | None = row.made  # type: ignore[attr-defined]
        return f"{made.arn}, version {made.version or 'none yet'}" if made else None

    @admin.display(description="people among whose recently used bots it is")
    def people(self, row: Bot) -> Any:
        return self._use(row, "people")

    @admin.display(description="people who starred it")
    def stars(self, row: Bot) -> Any:
        return self._use(row, "stars")

    @admin.display(description="questions")
    def uses(self, row: Bot) -> Any:
        return self._use(row, "uses")

    @admin.display(description="last question")
    def last_used(self, row: Bot) -> str:
        return writing.moment(self._use(row, "last_used"))

    def _use(self, row: Bot, name: str) -> Any:
        return row.use[name]  # type: ignore[attr-defined]

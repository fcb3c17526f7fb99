"""The console pages of keys: how much they are used, when they end, and what operators do with them."""

from collections.abc import Sequence
from typing import Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator

from bedrock_chat.console import roles
from bedrock_chat.console.confirming import ConfirmingPage
from bedrock_chat.console.site import ReadOnlyAdmin
from publication import operating
from publication.admin import used
from publication.admin.key_actions import Disable, Enable, Reveal, Revoke, Rotate, TopUp
from publication.admin.used import Used
from publication.models import ApiKey
from publication.operating import KeyState

roles.allow(roles.Role.VIEWER, "publication.view_apikey")
roles.allow(roles.Role.SUPPORT, *(f"publication.{may}_apikey" for may in ("rotate", "change", "top_up")))
roles.allow(roles.Role.ADMIN, "publication.reveal_apikey", "publication.delete_apikey")

LONGEST_SHOWN: Final = 80


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
class ApiKeyAdmin(ConfirmingPage, ReadOnlyAdmin):
    confirmed = [Rotate(), Disable(), Enable(), TopUp(), Reveal(), Revoke()]
    empty_text = "Publishing a bot makes its first key; its owner makes more over the API."
    list_display = ["id", "bot", "shown_description", "state", "shown_used", "last_used_at", "expires_at", "created_at"]
    list_filter = [StateFilter]
    list_select_related = ["publication"]
    search_fields = ["=id", "=lineage", "=publication__id", "=publication__bot__id"]
    search_help_text = "The id of a key, a lineage, a publication or a bot; never a key's value."
    ordering = ["-created_at", "pk"]
    open_columns = frozenset({"description"})  # operators tell keys apart by it
    fieldsets = [
        (None, {"fields": ["id", "bot", "description", "state", "created_at", "expires_at"]}),
        ("Rotation", {"fields": ["lineage", "begun_at", "replaced_by"]}),
        ("Use", {"fields": ["shown_used", "last_used_at", "last_used_address", "last_used_agent"]}),
    ]
    readonly_fields = ["bot", "state", "shown_used"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        rows: QuerySet[ApiKey] = super().get_queryset(request)
        return rows.defer("digest", "encrypted_value")

    def complete_page(self, request: HttpRequest, rows: Sequence[ApiKey]) -> None:
        """Adds what the keys of a page have used, in one query for all of them."""
        of_keys = used.of_keys(rows)
        for key in rows:
            key.used = of_keys.get(key.pk)  # type: ignore[attr-defined]  # for `shown_used`

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ApiKey | None:
        key: ApiKey | None = super().get_object(request, object_id, from_field)
        if key is not None:
            self.complete_page(request, [key])
        return key

    @admin.display(description="bot", ordering="publication__bot")
    def bot(self, row: ApiKey) -> str:
        return str(row.publication)

    @admin.display(description="description", ordering="description")
    def shown_description(self, row: ApiKey) -> str:
        return Truncator(row.description).chars(LONGEST_SHOWN)

    @admin.display(description="state")
    def state(self, row: ApiKey) -> str:
        return str(operating.state_of(row, timezone.now()))

    @admin.display(description="used in this period")
    def shown_used(self, row: ApiKey) -> str:
        of_row: Used | None = row.used  # type: ignore[attr-defined]  # from `complete_page`
        suffix = " by all keys" if of_row is not None and of_row.account == row.publication_id else ""
        return format_html("{}{}", used.bar(of_row), suffix)

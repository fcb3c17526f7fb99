"""What the list of bots is filtered by."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from bots.models import Bot


class _SetFilter(admin.SimpleListFilter):
    """Filters by whether a column has a value."""

    column: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Bot]) -> QuerySet[Bot]:
        if self.value() not in ("yes", "no"):
            return rows
        return rows.filter(**{f"{self.column}__isnull": self.value() == "no"})


class PinnedFilter(_SetFilter):
    title = parameter_name = "pinned"
    column = "pinned_order"


class PublishedFilter(_SetFilter):
    title = parameter_name = "published"
    column = "published_at"


class OrphanFilter(admin.SimpleListFilter):
    """Bots whose owner may not sign in any more. When a person is erased, their bots are deleted."""

    title = "owner"
    parameter_name = "orphans"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Suspended: orphans"), ("no", "May sign in")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Bot]) -> QuerySet[Bot]:
        if self.value() not in ("yes", "no"):
            return rows
        return rows.filter(owner__is_active=self.value() == "no")

"""Console pages of workers and of the audit."""

from collections.abc import Callable
from datetime import timedelta
from operator import attrgetter
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from bedrock_chat.audit import verbs
from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console import ledger_page, roles  # noqa: F401  registers itself
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Worker

admin.site.unregister(Group)  # groups come with tokens, and operators' roles by migration

VIEWED = ["worker", "modelcall", "auditentry"]
roles.allow(roles.Role.VIEWER, *(f"bedrock_chat.view_{name}" for name in VIEWED))


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["host", "process", "concurrency", "started_at", "seen_at"]
    ordering = ["-seen_at"]
    fields = ["id", "host", "process", "concurrency", "started_at", "seen_at"]


class _KnownFilter(admin.SimpleListFilter):
    """Filters by what the code's verbs name. To ask the table which ones it holds would read all of it."""

    column: str
    known: Callable[[verbs.Verb], str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted({type(self).known(verb) for verb in verbs.registered()})]

    def queryset(self, request: HttpRequest, rows: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return rows.filter(**{self.column: self.value()}) if self.value() else rows


class VerbFilter(_KnownFilter):
    title = parameter_name = column = "verb"
    known = attrgetter("name")


class TargetFilter(_KnownFilter):
    title = parameter_name = "target"
    column = "target_kind"
    known = attrgetter("target")


class DaysFilter(admin.SimpleListFilter):
    """The entries of the last days."""

    title = "time"
    parameter_name = "days"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "past 24 hours"), ("7", "past 7 days"), ("30", "past 30 days"), ("90", "past 90 days")]

    def queryset(self, request: HttpRequest, rows: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        if self.value() not in dict(self.lookup_choices):
            return rows
        return rows & AuditEntry.objects.since(database_now() - timedelta(days=int(str(self.value()))))


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what. One searches for the whole id of a target or of whoever acted."""

    list_display = [
        "at",
        "verb",
        "target_kind",
        "target_id",
        "actor_kind",
        "actor_id",
        "fields",
        "values",
        "network",
    ]
    list_filter = [VerbFilter, TargetFilter, "actor_kind", DaysFilter]
    search_fields = ["=target_id", "=actor_id"]
    search_help_text = "The id of a target, or of whoever acted."
    ordering = ["-pk"]
    sortable_by = ()  # entries are in the order of time, and no column has an index to sort by
    show_full_result_count = False
    open_columns = frozenset({"fields", "values"})  # names, and what a verb lets be kept

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Django's would look for an id without regard to case, which no index answers."""
        if not search_term:
            return queryset, False
        kept = verbs.kept_id(search_term)
        return queryset.filter(Q(target_id=kept) | Q(actor_id=kept)), False

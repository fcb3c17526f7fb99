"""Console pages of the kernel's models."""

from collections.abc import Callable

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.console import (  # noqa: F401  the pages register themselves
    access_pages,
    audit_page,
    ledger_page,
    refusals_page,
    roles,
    storage_page,
)
from bedrock_chat.console.filters import choice_filter
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin
from bedrock_chat.console.site import ReadOnlyAdmin, ReadOnlyRows
from bedrock_chat.identity.caller import operator_of
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.ledger.budgets import amounts
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter

admin.site.unregister(Group)  # groups come with tokens, and operators' roles by migration

VIEWED = ["user", "job", "worker", "modelcall", "auditentry", "budget", "budgetcounter", "refusal"]
roles.allow(roles.Role.VIEWER, *(f"bedrock_chat.view_{name}" for name in VIEWED))
roles.allow(roles.Role.SUPPORT, "bedrock_chat.change_job")
roles.allow(roles.Role.ADMIN, audit_page.EXPORT)


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ["username", "email", "id", "token_groups", "is_active", "is_staff", "created_at"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["id", "username", "email", "login"]
    open_columns = frozenset({"token_groups"})  # names of groups
    ordering = ["-created_at"]
    fields = ["id", "username", "email", "token_groups", "login", "is_active", "is_staff", "created_at", "last_login"]


@admin.register(Job)
class JobAdmin(KeyPagedReadOnlyAdmin):
    """The queue: jobs that wait, jobs that run and until when, dead jobs and why. A job that is done has no row.

    Rows cannot be edited. The permission to change jobs allows an operator to retry and to cancel them.
    """

    list_display = ["id", "kind", "shown_state", "due_at", "attempt", "worker", "reason", "created_at"]
    list_filter = ["state", choice_filter("kind", "kind", "kind", lambda: [(kind, kind) for kind in settings.JOBS])]
    search_fields = ["id", "key"]
    search_help_text = "The id of a job, or its whole key."
    open_columns = frozenset({"reason"})  # the message of an error
    empty_text = "Work that waits, runs or was given up stands here. There is none: nothing is to be done."
    fields = ["kind", "key", "state", "due_at", "attempt", "worker", "reason", "created_at", "sent_at"]
    actions = ["retry", "cancel"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        """Looks for an id or a key alone: both are indexed."""
        if not search_term:
            return queryset, False
        is_id = search_term.isascii() and search_term.isdigit() and len(search_term) < 19
        return queryset.filter(Q(pk=int(search_term)) if is_id else Q(key=search_term)), False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bedrock_chat.change_job")

    @admin.display(description="state", ordering="state")
    def shown_state(self, row: Job) -> str:
        suffix = "" if row.kind in settings.JOBS else ", unknown kind"
        return format_html("<strong>{}</strong>{}" if row.state == State.DEAD else "{}{}", row.state, suffix)

    @admin.action(description="Retry: begin now, as if it had never failed", permissions=["operate"])
    def retry(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        kinds = dict(rows.values_list("pk", "kind"))
        retried = sum(_recorded(request, verbs.RETRY_JOB, pk, kind, queue.retry) for pk, kind in kinds.items())
        self.message_user(request, f"{retried} of {len(kinds)} jobs begin now; those that run already do not.")

    @admin.action(
        description="Cancel: take away, also from a worker that runs it; a periodic job skips this run",
        permissions=["operate"],
    )
    def cancel(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        kinds = dict(rows.values_list("pk", "kind"))
        cancelled = sum(_recorded(request, verbs.CANCEL_JOB, pk, kind, queue.cancel) for pk, kind in kinds.items())
        self.message_user(
            request, f"{cancelled} jobs were cancelled; periodic ones come again with their schedule.", messages.WARNING
        )


def _recorded(request: HttpRequest, verb: verbs.Verb, pk: int, kind: str, write: Callable[[int], bool]) -> bool:
    """Does something to a job, and records it if there was something to do. Returns whether there was."""
    with transaction.atomic():
        is_done = write(pk)
        if is_done:
            values = {"kind": kind} if kind in settings.JOBS else {}  # another version's kind may be any text
            record(verb, str(pk), actor=operator_of(request), values=values)
    return is_done


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["host", "process", "concurrency", "started_at", "seen_at"]
    ordering = ["-seen_at"]
    fields = ["id", "host", "process", "concurrency", "started_at", "seen_at"]


class CountersOfBudget(ReadOnlyRows):
    """What was used of a budget in its latest periods."""

    model = BudgetCounter
    fields = ["label", "shown_used", "shown_reserved", "shown_difference", "alerted_at", "compared_at"]
    readonly_fields = ["shown_used", "shown_reserved", "shown_difference"]
    ordering = ["-ends_at"]

    @admin.display(description="used")
    def shown_used(self, row: BudgetCounter) -> str:
        return amounts.sentence(row.used, row.unit)

    @admin.display(description="reserved")
    def shown_reserved(self, row: BudgetCounter) -> str:
        return amounts.sentence(row.reserved, row.unit)

    @admin.display(description="the ledger has more")
    def shown_difference(self, row: BudgetCounter) -> str:
        return amounts.sentence(row.difference, row.unit)


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin):
    """Budgets, which `manage.py set_budget` sets."""

    list_display = ["payer_kind", "payer_id", "shown_allowance", "period", "is_hard", "changed_at"]
    list_filter = ["payer_kind", "period", "unit", "is_hard"]
    search_fields = ["=payer_id"]
    ordering = ["payer_kind", "payer_id", "pk"]
    fields = ["payer_kind", "payer_id", "shown_allowance", "period", "is_hard", "created_at", "changed_at"]
    inlines = [CountersOfBudget]

    @admin.display(description="allowance")
    def shown_allowance(self, row: Budget) -> str:
        return amounts.sentence(row.allowance, row.unit)

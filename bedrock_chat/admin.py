"""Console pages of the kernel's models."""

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.ledger.models import ModelCall

admin.site.unregister(Group)  # groups come with tokens


@admin.register(User)
class UserAdmin(ReadOnlyAdmin):
    list_display = ["username", "email", "id", "token_groups", "is_active", "is_staff", "created_at"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["id", "username", "email", "login"]
    open_columns = frozenset({"token_groups"})  # names of groups
    ordering = ["-created_at"]
    fields = ["id", "username", "email", "token_groups", "login", "is_active", "is_staff", "created_at", "last_login"]


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    """The queue: jobs that wait, jobs that run and until when, dead jobs and why. A job that is done has no row.

    Rows cannot be edited. The permission to change jobs allows an operator to retry and to cancel them.
    """

    list_display = ["id", "kind", "shown_state", "due_at", "attempt", "worker", "reason", "created_at"]
    list_filter = ["state", "kind"]
    search_fields = ["=id", "=key", "kind"]
    open_columns = frozenset({"reason"})  # the message of an error
    ordering = ["due_at"]
    fields = ["kind", "key", "state", "due_at", "attempt", "worker", "reason", "created_at"]
    actions = ["retry", "cancel"]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bedrock_chat.change_job")

    @admin.display(description="state", ordering="state")
    def shown_state(self, row: Job) -> str:
        suffix = "" if row.kind in settings.JOBS else ", unknown kind"
        return format_html("<strong>{}</strong>{}" if row.state == State.DEAD else "{}{}", row.state, suffix)

    @admin.action(description="Retry: begin now, as if it had never failed", permissions=["operate"])
    def retry(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        keys = list(rows.values_list("pk", flat=True))
        retried = sum(queue.retry(pk) for pk in keys)
        self.message_user(request, f"{retried} of {len(keys)} jobs begin now; those that run already do not.")

    @admin.action(
        description="Cancel: take away, also from a worker that runs it; a periodic job skips this run",
        permissions=["operate"],
    )
    def cancel(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        cancelled = sum(queue.cancel(pk) for pk in list(rows.values_list("pk", flat=True)))
        self.message_user(
            request, f"{cancelled} jobs were cancelled; periodic ones come again with their schedule.", messages.WARNING
        )


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["host", "process", "concurrency", "started_at", "seen_at"]
    ordering = ["-seen_at"]
    fields = ["id", "host", "process", "concurrency", "started_at", "seen_at"]


@admin.register(ModelCall)
class ModelCallAdmin(ReadOnlyAdmin):
    list_display = [
        "created_at",
        "purpose",
        "user_id",
        "model",
        "input_tokens",
        "output_tokens",
        "usd",
        "latency_ms",
        "stop_reason",
        "fault",
    ]
    list_filter = ["purpose", "model", "fault", "estimated"]
    search_fields = ["=user_id", "=conversation_external_id", "=publication_id"]
    date_hierarchy = "created_at"
    ordering = ["-pk"]
    open_columns = frozenset({"first_token_ms"})  # a time

    @admin.display(description="price (USD)", empty_value="unpriced")
    def usd(self, row: ModelCall) -> str | None:
        return None if row.price is None else f"{row.price:.6f}"

"""Console pages of workers, and the pages of the kernel that stand in the console's own room."""

from django.contrib import admin
from django.contrib.auth.models import Group

from bedrock_chat.console import (  # noqa: F401  the pages register themselves
    access_pages,
    alerts_page,
    audit_page,
    budgets_page,
    jobs_page,
    ledger_page,
    models_page,
    people_page,
    refusals_page,
    roles,
    storage_page,
    tool_calls_page,
)
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.jobs.models import Worker

admin.site.unregister(Group)  # groups come with tokens, and operators' roles by migration

VIEWED = ["worker", "modelcall", "toolcall", "auditentry", "refusal"]
roles.allow(roles.Role.VIEWER, *(f"bedrock_chat.view_{name}" for name in VIEWED))
roles.allow(roles.Role.ADMIN, audit_page.EXPORT)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["host", "process", "concurrency", "started_at", "seen_at"]
    ordering = ["-seen_at"]
    empty_text = "A process that does jobs is listed while it runs. There is none: start one by manage.py run_worker."
    fields = ["id", "host", "process", "concurrency", "started_at", "seen_at"]

"""The console page of workers, and what the pages of the ledger and the audit let whom do."""

from django.contrib import admin
from django.contrib.auth.models import Group

from bedrock_chat.console import audit_page, ledger_page, roles  # noqa: F401  the pages register themselves
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.jobs.models import Worker

admin.site.unregister(Group)  # groups come with tokens, and operators' roles by migration

VIEWED = ["worker", "modelcall", "auditentry"]
roles.allow(roles.Role.VIEWER, *(f"bedrock_chat.view_{name}" for name in VIEWED))
roles.allow(roles.Role.ADMIN, audit_page.EXPORT)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = ["host", "process", "concurrency", "started_at", "seen_at"]
    ordering = ["-seen_at"]
    empty_text = "A process that does jobs is listed while it runs. There is none: start one by manage.py run_worker."
    fields = ["id", "host", "process", "concurrency", "started_at", "seen_at"]

"""Alerts in the console: those that are open, and the first glance's sentences, which come from the same conditions."""

from collections.abc import Iterator
from typing import Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html

from bedrock_chat.alerts import conditions
from bedrock_chat.alerts.models import OpenAlert
from bedrock_chat.alerts.models import Severity as Degree
from bedrock_chat.console import registry, roles
from bedrock_chat.console.addresses import of_list
from bedrock_chat.console.registry import Severity, Trouble
from bedrock_chat.console.site import ReadOnlyAdmin

roles.allow(roles.Role.VIEWER, "bedrock_chat.view_openalert")

SHOWN: Final = 3
"""Problems of one condition at the first glance."""


@admin.register(OpenAlert)
class OpenAlertAdmin(ReadOnlyAdmin):
    """What is wrong now, for how long, and whether it was sent. An alert whose problem is gone has no row."""

    list_display = ["sentence", "shown_severity", "remedy", "where", "opened_at", "mailed_at", "posted_at"]
    list_filter = ["severity"]
    ordering = ["-severity", "-opened_at"]
    empty_text = "What is wrong stands here, as a worker finds it every minute. It has found nothing."
    fields = ["sentence", "shown_severity", "remedy", "where", "opened_at", "seen_at", "mailed_at", "posted_at"]
    readonly_fields = ["shown_severity", "where"]

    @admin.display(description="how bad", ordering="severity")
    def shown_severity(self, row: OpenAlert) -> str:
        words = {Degree.NOTICE: "worth a look", Degree.WARNING: "will not work soon", Degree.URGENT: "does not work"}
        return words[Degree(row.severity)]

    @admin.display(description="where")
    def where(self, row: OpenAlert) -> str:
        return format_html('<a href="{}" class="underline">Look</a>', row.link)


@registry.warning("alerts")
def troubles(request: HttpRequest) -> Iterator[Trouble]:
    """What is wrong now, as the conditions of the alerts tell it, each to whoever may see what it is about."""
    for condition in conditions.registered():
        if not request.user.has_perm(condition.permission):
            continue
        problems = conditions.looked(condition)
        if problems is None:
            text = f"This could not be looked at: {condition.name}. The log says why."
            yield Trouble(text, of_list("bedrock_chat.openalert"), link_text="Alerts that were open before")
            continue
        for problem in problems[:SHOWN]:
            severity = Severity.ERROR if problem.severity == Degree.URGENT else Severity.CAUTION
            yield Trouble(f"{problem.sentence} {problem.remedy}", problem.link, severity)
        if len(problems) > SHOWN:
            more = f"{len(problems) - SHOWN} more" if len(problems) < conditions.MOST else "Many more"
            yield Trouble(f"{more} of {condition.name}.", of_list("bedrock_chat.openalert"), link_text="Open alerts")

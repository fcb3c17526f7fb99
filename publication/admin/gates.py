"""The console page of what was used of limits, account by account."""

from django.contrib import admin

from bedrock_chat.console import roles
from bedrock_chat.console.site import ReadOnlyAdmin
from publication import limits
from publication.models import Gate

roles.allow(roles.Role.VIEWER, "publication.view_gate")


@admin.register(Gate)
class GateAdmin(ReadOnlyAdmin):
    """An account is a key with those that rotations made of it, or an API whose keys share their limits."""

    list_display = ["account", "publication_id", "counts", "period", "used", "extra"]
    search_fields = ["account__exact", "publication_id__exact"]
    search_help_text = "The id of a key, a lineage or a publication."
    ordering = ["account"]
    sortable_by = ()
    show_full_result_count = False
    empty_text = "Every key has a row here from when it is made."
    fields = ["account", "publication_id", "counts", "period", "used", "extra"]
    readonly_fields = ["counts"]

    @admin.display(description="counts")
    def counts(self, row: Gate) -> str:
        return "looks for answers" if row.account.endswith(limits.POLLS) else "questions"

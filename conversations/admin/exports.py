"""The console pages of exports: one begins and is downloaded at once, and a list says how far each of them is."""

from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path

from bedrock_chat.console import lookups, periods, roles
from bedrock_chat.console.confirming import ConfirmedAction, ConfirmingPage, ConsoleForm
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import operator_of
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.ids import ID_LENGTH
from conversations.admin.pages import EXPORT
from conversations.models import ConversationExport
from conversations.operating import exports
from conversations.operating.exporting import Filters

LOOK_AGAIN: Final = 5
"""Seconds after which a page with an export that runs is loaded again."""

roles.allow(roles.Role.ADMIN, EXPORT, "conversations.view_conversationexport")


class ExportForm(ConsoleForm):
    bot_id = forms.CharField(label="Bot", required=False, max_length=ID_LENGTH, help_text="Its whole id. Empty: all.")
    user_id = forms.CharField(label="Person", required=False, max_length=128, help_text="Their whole id. Empty: all.")
    publication_id = forms.CharField(
        label="Published API", required=False, max_length=ID_LENGTH, help_text="Its whole id. Empty: all."
    )
    first_day = forms.DateField(
        label="Begun from",
        required=False,
        widget=forms.TextInput,
        help_text="A day, YYYY-MM-DD. Empty, with the next one: all days.",
    )
    last_day = forms.DateField(
        label="Begun until", required=False, widget=forms.TextInput, help_text="The last day, included."
    )

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        first, last = values.get("first_day"), values.get("last_day")
        if not self.errors and (first is None) != (last is None):
            raise forms.ValidationError("Give both days, or none.")
        if first is not None and last is not None:
            try:
                periods.period_of({periods.FROM: first.isoformat(), periods.TO: last.isoformat()}, default=None)
            except BadRequest as refusal:
                raise forms.ValidationError(str(refusal.detail)) from None
        return values


class Begin(ConfirmedAction[ConversationExport]):
    """Its second step is the download itself (`ConversationExportAdmin.begin_view`)."""

    name, label, button, icon = "begin", "Export conversations", "Download", "download"
    permission = EXPORT
    form_class = ExportForm

    def consequences(self, row: ConversationExport | None) -> Iterable[str]:
        yield "You download what people have written, a conversation a line, with feedback, cost and models."
        yield "It is made while it is sent, so the download begins at once. No copy stays here."
        yield "The list of exports tells how far it is. Files are named and not contained."
        yield "The audit records that you have taken it, and what it was filtered by."


@admin.register(ConversationExport)
class ConversationExportAdmin(ConfirmingPage, ReadOnlyAdmin):
    plain_name = "Exports of conversations"
    list_before_template = "conversations/console_export_link.html"
    list_display = ["begun_at", "asked_by", "filtered_by", "progress", "conversations", "shown_size", "finished_at"]
    ordering = ["-pk"]
    list_per_page = 50
    empty_text = "Conversations that are exported here are listed for a month: by whom, which ones, and how far it is."
    fields = list_display
    readonly_fields = ["filtered_by", "progress", "shown_size"]

    @admin.display(description="which ones")
    def filtered_by(self, row: ConversationExport) -> str:
        parts = [("bot", row.bot_id), ("person", row.user_id), ("published API", row.publication_id)]
        words = [f"{name} {value}" for name, value in parts if value]
        if row.first_day is not None:
            words.append(f"begun {row.first_day} – {row.last_day}")
        return ", ".join(words) or "all"

    @admin.display(description="progress")
    def progress(self, row: ConversationExport) -> str:
        """By keys: nothing counts the conversations before."""
        if row.finished_at is not None:
            return "done"
        share = (row.next_key - row.first_key) / max(1, row.last_key + 1 - row.first_key)
        return f"{'stands still' if _stands_still(row) else 'running'}, {share:.0%}"

    @admin.display(description="size")
    def shown_size(self, row: ConversationExport) -> str:
        return filesizeformat(row.size)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        context = {"may_export": request.user.has_perm(EXPORT), **(extra_context or {})}
        response = super().changelist_view(request, context)
        fresh = ConversationExport.objects.filter(finished_at=None, moved_at__gt=database_now() - exports.STILL)
        if request.method == "GET" and fresh.exists():
            response.headers["Refresh"] = str(LOOK_AGAIN)
        return response

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.begin_view)
        return [path("begin/", view, name="conversations_conversationexport_begin"), *super().get_urls()]

    def begin_view(self, request: HttpRequest) -> HttpResponseBase:
        """The form, which begins with the filters of the list that one comes from, and then the download."""
        action = Begin()
        if not self.may_do(request, action):
            raise PermissionDenied
        form = ExportForm(request.POST if request.method == "POST" else None, initial=_initial(request))
        if request.method != "POST" or not form.is_valid():
            status = 400 if form.is_bound else 200
            return self._page(request, action, form, status=status, title=action.label)
        filters = Filters(**form.cleaned_data)
        row = exports.begin(filters, actor=operator_of(request))
        headers = {"Content-Disposition": f'attachment; filename="conversations-{row.pk}.jsonl"'}
        return StreamingHttpResponse(
            exports.stream(row, filters),
            content_type="application/x-ndjson",
            headers={**headers, "Cache-Control": "no-store"},
        )


def _stands_still(row: ConversationExport) -> bool:
    return row.moved_at < database_now() - exports.STILL


def _initial(request: HttpRequest) -> dict[str, Any]:
    """What the filters of a list of conversations say. Others that it has are not an export's."""
    lookups.take_only(request, {"bot", "user", "publication", "model", "q", "after", "before", *periods.PARAMETERS})
    period = periods.period_of(request.GET.dict(), default=None)
    ids = {f"{name}_id": request.GET.get(name, "") for name in ("bot", "user", "publication")}
    days = {} if period is None else {"first_day": period.first, "last_day": period.last}
    return {**ids, **days}

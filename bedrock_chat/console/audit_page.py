"""The page of the audit: who did what, to what, when and from where; filtered, and exported as a file."""

from collections.abc import Callable, Iterator
from typing import Any, Final

from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from bedrock_chat.audit import append_only, verbs
from bedrock_chat.audit.models import ActorKind, AuditEntry
from bedrock_chat.audit.recording import record
from bedrock_chat.console.filters import IdFilter, PeriodFilter, choice_filter, matching
from bedrock_chat.console.registry import Severity, Trouble, warning
from bedrock_chat.console.row_exports import ExportedList
from bedrock_chat.identity.caller import operator_of
from bedrock_chat.ledger import zones

EXPORT: Final = "bedrock_chat.export_auditentry"
EXPORTED: Final = (
    "id",
    "at",
    "verb",
    "target_kind",
    "target_id",
    "actor_kind",
    "actor_id",
    "fields",
    "values",
    "version_before",
    "version_after",
    "request_id",
    "network",
)


def _known(name: Callable[[verbs.Verb], str]) -> Callable[[], list[tuple[str, str]]]:
    """What verbs and targets there are, by the code. To ask the table which ones it holds would read all of it."""
    return lambda: [(word, word) for word in sorted({name(verb) for verb in verbs.registered()})]


class _KeptIdFilter(IdFilter):
    """By an id, which the audit may keep as a digest."""

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return matching(request, rows, self.column, verbs.kept_id(value)) if value else rows


class ActorFilter(_KeptIdFilter):
    title = "who acted"
    parameter_name = "actor"
    column = "actor_id"


class AboutFilter(_KeptIdFilter):
    title = "about"
    parameter_name = "about"
    column = "target_id"


class TimeFilter(PeriodFilter):
    column = "at"


@warning("audit", permission="bedrock_chat.view_auditentry")
def unguarded(request: HttpRequest) -> Iterator[Trouble]:
    """The database would let somebody change the audit."""
    if missing := append_only.missing():
        text = f"The database does not keep the audit from being changed ({', '.join(missing)}): run manage.py migrate."
        yield Trouble(text, reverse("admin:bedrock_chat_auditentry_changelist"), Severity.ERROR, "The audit")


@admin.register(AuditEntry)
class AuditEntryAdmin(ExportedList):
    """Who did what. One searches for the whole id of a target or of whoever acted."""

    list_display = ["shown_at", "verb", "target_kind", "target_id", "shown_change", "actor_kind", "actor_id", "network"]
    list_filter = [
        TimeFilter,
        choice_filter("verb", "verb", "what was done", _known(lambda verb: verb.name)),
        choice_filter("target", "target_kind", "to what", _known(lambda verb: verb.target)),
        choice_filter("kind", "actor_kind", "by what", lambda: ActorKind.choices),
        ActorFilter,
        AboutFilter,
    ]
    indexed_filters = frozenset({"actor", "about"})
    time_column = "at"
    search_fields = ["target_id"]
    search_help_text = "The whole id of a target, or of whoever acted."
    open_columns = frozenset({"fields", "values"})  # names, and what a verb lets be kept
    fields = ["shown_at", *EXPORTED[2:7], "shown_change", *EXPORTED[9:]]
    readonly_fields = ["shown_at", "shown_change"]
    exported, export_name = EXPORTED, "audit"
    empty_text = "Whatever an operator, a command or the API changes leaves an entry here. There is none yet."

    @admin.display(description="when")
    def shown_at(self, row: AuditEntry) -> str:
        """The time in the zone of reports, which it names."""
        moment = row.at.astimezone(zones.zone())
        return format_html('<span class="whitespace-nowrap">{}</span>', f"{moment:%Y-%m-%d %H:%M:%S %Z}")

    @admin.display(description="before → after", empty_value="")
    def shown_change(self, row: AuditEntry) -> str:
        """In words: `version: 2 → 3; scope: private → all; instruction`."""
        parts = [] if row.version_after is None else [f"version: {_shown(row.version_before)} → {row.version_after}"]
        for name, value in row.values.items():
            if isinstance(value, dict):
                parts.append(f"{name}: {_shown(value.get('before'))} → {_shown(value.get('after'))}")
            else:
                parts.append(f"{name}: {_shown(value)}")
        return "; ".join([*parts, *(name for name in row.fields if name not in row.values)])

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Django's would look for an id without regard to case, which no index answers."""
        if not search_term:
            return queryset, False
        kept = verbs.kept_id(search_term)
        return queryset.filter(Q(target_id=kept) | Q(actor_id=kept)), False

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(EXPORT) and super().has_export_permission(request)

    def note_export(self, request: HttpRequest, kind: str) -> None:
        """An export of the audit is in the audit."""
        with transaction.atomic():
            record(verbs.EXPORT_AUDIT, kind, actor=operator_of(request))


def _shown(value: Any) -> str:
    """A value of an entry as an operator reads it."""
    match value:
        case None | []:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value))
    return str(value)

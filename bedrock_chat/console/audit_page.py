"""The page of the audit: who did what, to what, when and from where; filtered, and exported as a file."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from bedrock_chat.audit import append_only, verbs
from bedrock_chat.audit.models import OUT_OF_ORDER, ActorKind, AuditEntry
from bedrock_chat.audit.recording import record
from bedrock_chat.console import periods
from bedrock_chat.console.filters import IdFilter, PeriodFilter, choice_filter
from bedrock_chat.console.key_paging import KeyBounds, KeyPagedReadOnlyAdmin
from bedrock_chat.console.registry import Severity, Trouble, warning
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import operator_of
from bedrock_chat.ledger import zones

EXPORT: Final = "bedrock_chat.export_auditentry"
KEYS_AT_A_TIME: Final = 2000
"""So many keys each statement of an export looks at: it is over in milliseconds, whatever the filters are."""

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

Row = tuple[Any, ...]


def _known(name: Callable[[verbs.Verb], str]) -> Callable[[], list[tuple[str, str]]]:
    """What verbs and targets there are, by the code. To ask the table which ones it holds would read all of it."""
    return lambda: [(word, word) for word in sorted({name(verb) for verb in verbs.registered()})]


class _KeptIdFilter(IdFilter):
    """By an id, which the audit may keep as a digest."""

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return rows.filter(**{self.column: verbs.kept_id(value)}) if value else rows


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
class AuditEntryAdmin(KeyPagedReadOnlyAdmin):
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
    key_bounding = periods.PARAMETERS
    search_fields = ["target_id"]
    search_help_text = "The whole id of a target, or of whoever acted."
    open_columns = frozenset({"fields", "values"})  # names, and what a verb lets be kept
    fields = ["shown_at", *EXPORTED[2:7], "shown_change", *EXPORTED[9:]]
    readonly_fields = ["shown_at", "shown_change"]
    list_before_template = "bedrock_chat/audit_export.html"
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

    def key_bounds(self, request: HttpRequest) -> KeyBounds:
        period = periods.period_of(request.GET.dict(), default=None)
        if period is None:
            return KeyBounds()
        entries = AuditEntry.objects.all()
        return KeyBounds(
            entries.first_key_since(period.span.start - OUT_OF_ORDER),
            entries.first_key_since(period.span.end + OUT_OF_ORDER) - 1,
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Django's would look for an id without regard to case, which no index answers."""
        if not search_term:
            return queryset, False
        kept = verbs.kept_id(search_term)
        return queryset.filter(Q(target_id=kept) | Q(actor_id=kept)), False

    # ---- Exports ----------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(f"export.{kind}", self.admin_site.admin_view(self._view_of(kind)), name=f"audit_export_{kind}")
            for kind in _FORMATS
        ]
        return [*own, *super().get_urls()]

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(EXPORT) and self.has_view_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {"may_export": self.has_export_permission(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    def _view_of(self, kind: str) -> Callable[[HttpRequest], StreamingHttpResponse]:
        return lambda request: self.export(request, kind)

    def export(self, request: HttpRequest, kind: str) -> StreamingHttpResponse:
        """The entries that the list's own filters keep, from the oldest to the newest. That itself leaves an entry."""
        if not self.has_export_permission(request):
            raise PermissionDenied
        entries = self.get_changelist_instance(request)
        bounds = self.key_bounds(request)
        with transaction.atomic():
            record(verbs.EXPORT_AUDIT, kind, actor=operator_of(request))
        content_type, lines = _FORMATS[kind]
        return StreamingHttpResponse(
            lines(_rows(entries.queryset, bounds)),
            content_type=content_type,
            headers={"Content-Disposition": f'attachment; filename="audit.{kind}"', "Cache-Control": "no-store"},
        )


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


def _rows(entries: QuerySet[AuditEntry], bounds: KeyBounds) -> Iterator[Row]:
    """The entries between two keys. Between statements the thread keeps no connection, since a client reads slowly."""
    keys = AuditEntry.objects.order_by("pk").values_list("pk", flat=True)
    first, last = keys.first() or 1, keys.last() or 0
    first, last = max(first, bounds.first or first), last if bounds.last is None else min(last, bounds.last)
    rows = entries.order_by("pk").values_list(*EXPORTED)
    for key in range(first, last + 1, KEYS_AT_A_TIME):
        batch = list(rows.filter(pk__gte=key, pk__lte=min(last, key + KEYS_AT_A_TIME - 1)))
        if not connection.in_atomic_block:
            release_connection()
        yield from batch


def _as_csv(rows: Iterable[Row]) -> Iterator[bytes]:
    """A line of names, and a line for each entry. Lists and values are JSON."""
    yield _csv_line(EXPORTED)
    for row in rows:
        yield _csv_line(
            json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else _plain(value) for value in row
        )


def _csv_line(cells: Iterable[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode()


def _as_jsonl(rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        document = {name: _plain(value) for name, value in zip(EXPORTED, row, strict=True)}
        yield json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    """A time as ISO 8601 in UTC, and everything else as it is."""
    return value.isoformat() if hasattr(value, "isoformat") else value


_FORMATS: Final[dict[str, tuple[str, Callable[[Iterable[Row]], Iterator[bytes]]]]] = {
    "csv": ("text/csv; charset=utf-8", _as_csv),
    "jsonl": ("application/x-ndjson", _as_jsonl),
}

"""Lists that can be downloaded: all rows that their filters keep, as CSV or JSON lines."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path, reverse

from bedrock_chat.console import csv_lines
from bedrock_chat.console.key_paging import KeyBounds, KeyPagedReadOnlyAdmin
from bedrock_chat.database.connections import release_connection

KEYS_AT_A_TIME: Final = 2000
"""So many keys each statement of an export looks at: it is over in milliseconds, whatever the filters are."""

Row = tuple[Any, ...]


class ExportedList(KeyPagedReadOnlyAdmin):
    """A list with links that download what it lists, from the oldest row to the newest.

    `exported` are the columns, and `export_name` is that of the files and of their addresses.
    """

    exported: ClassVar[tuple[str, ...]]
    export_name: ClassVar[str]
    list_before_template = "bedrock_chat/row_export.html"

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_view_permission(request))

    def note_export(self, request: HttpRequest, kind: str) -> None:
        """Comes before an export, for pages whose exports are recorded."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [path(f"export.{kind}", view(self._view_of(kind)), name=self._route(kind)) for kind in _FORMATS]
        return [*own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        may_export = self.has_export_permission(request)
        exports = {kind.upper(): reverse(f"admin:{self._route(kind)}") for kind in _FORMATS} if may_export else {}
        return super().changelist_view(request, {"exports": exports, **(extra_context or {})})

    def export(self, request: HttpRequest, kind: str) -> StreamingHttpResponse:
        if not self.has_export_permission(request):
            raise PermissionDenied
        rows = self.get_changelist_instance(request).queryset
        bounds = self.key_bounds(request)
        self.note_export(request, kind)
        content_type, lines = _FORMATS[kind]
        return StreamingHttpResponse(
            lines(self.exported, self._rows(rows, bounds)),
            content_type=content_type,
            headers={
                "Content-Disposition": f'attachment; filename="{self.export_name}.{kind}"',
                "Cache-Control": "no-store",
            },
        )

    def _rows(self, rows: QuerySet[Any], bounds: KeyBounds) -> Iterator[Row]:
        """The rows between two keys. Between statements the thread keeps no connection, since a client reads slowly."""
        keys = self.model._default_manager.order_by("pk").values_list("pk", flat=True)
        first, last = keys.first() or 1, keys.last() or 0
        first, last = max(first, bounds.first or first), last if bounds.last is None else min(last, bounds.last)
        chosen = rows.order_by("pk").values_list(*self.exported)
        for key in range(first, last + 1, KEYS_AT_A_TIME):
            batch = list(chosen.filter(pk__gte=key, pk__lte=min(last, key + KEYS_AT_A_TIME - 1)))
            if not connection.in_atomic_block:
                release_connection()
            yield from batch

    def _view_of(self, kind: str) -> Callable[[HttpRequest], StreamingHttpResponse]:
        return lambda request: self.export(request, kind)

    def _route(self, kind: str) -> str:
        return f"{self.export_name}_export_{kind}".replace("-", "_")


def _as_csv(names: Iterable[str], rows: Iterable[Row]) -> Iterator[bytes]:
    """A line of names, and a line for each row. Lists and values are JSON."""
    yield csv_lines.line(names).encode()
    for row in rows:
        cells = (
            json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else _plain(value) for value in row
        )
        yield csv_lines.line(cells).encode()


def _as_jsonl(names: tuple[str, ...], rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        document = {name: _plain(value) for name, value in zip(names, row, strict=True)}
        yield json.dumps(document, ensure_ascii=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    """A time as ISO 8601 in UTC, and everything else as it is."""
    return value.isoformat() if hasattr(value, "isoformat") else value


_FORMATS: Final[dict[str, tuple[str, Callable[[tuple[str, ...], Iterable[Row]], Iterator[bytes]]]]] = {
    "csv": ("text/csv; charset=utf-8", _as_csv),
    "jsonl": ("application/x-ndjson", _as_jsonl),
}

"""The home of the console, and its tables as CSV files."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from bedrock_chat.console import csv_lines, lookups, periods, registry
from bedrock_chat.console.dashboard.charts import COLOURS, draw
from bedrock_chat.console.panels import ChartKind, Panel, Table
from bedrock_chat.console.periods import Choice, Period
from bedrock_chat.wire.errors import NotFound


@dataclass(frozen=True, slots=True)
class ShownPanel:
    """A panel with what the template needs besides: its name, its drawing and the legend of it."""

    name: str
    panel: Panel
    drawing: SafeString | None
    legend: list[tuple[int, str]]


def period_of(request: HttpRequest) -> Period:
    """The period that the address names; a week, where it names none. Raises BadRequest."""
    lookups.take_only(request, periods.PARAMETERS)
    period = periods.period_of(request.GET.dict(), default=Choice.WEEK)
    assert period is not None
    return period


def context(request: HttpRequest) -> dict[str, Any]:
    """What the template of the home shows to this operator."""
    period = period_of(request)
    return {
        "period": period,
        "choices": [(value, label, f"{periods.DAYS}={value}" == period.query) for value, label in Choice.choices],
        "zone": settings.REPORT_TIME_ZONE,
        "troubles": registry.troubles_for(request),
        "now": registry.figures_now(request),
        "panels": [_shown(entry.name, entry.read(request, period)) for entry in registry.panels_for(request)],
    }


def csv_file(request: HttpRequest, name: str) -> HttpResponse:
    """The table of a panel as a CSV file (RFC 4180, UTF-8 with a mark, for spreadsheets). Raises NotFound."""
    period = period_of(request)
    entry = next((entry for entry in registry.panels_for(request) if entry.name == name), None)
    if entry is None:
        raise NotFound
    table = entry.read(request, period).table
    if table is None:
        raise NotFound
    text = "".join(map(csv_lines.line, _lines(table)))
    file_name = f"{name}-{period.first}-{period.last}.csv"
    return HttpResponse(
        f"\ufeff{text}",
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{file_name}"'},
    )


def _shown(name: str, panel: Panel) -> ShownPanel:
    chart = panel.chart
    if chart is None:
        return ShownPanel(name, panel, None, [])
    has_legend = chart.kind is not ChartKind.BARS
    legend = [(number % COLOURS, series.name) for number, series in enumerate(chart.series)] if has_legend else []
    return ShownPanel(name, panel, draw(chart, is_wide=panel.is_wide), legend)


def _lines(table: Table) -> Iterator[list[object]]:
    """The cells. A decimal is written without an exponent."""
    yield [column.title for column in table.columns]
    for row in table.rows:
        yield [f"{cell.value:f}" if isinstance(cell.value, Decimal) else cell.value for cell in row]

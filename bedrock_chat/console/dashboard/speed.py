"""The panel of how long people wait for the first word of an answer."""

from collections import Counter
from typing import Final

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_calls
from bedrock_chat.console.dashboard.usage import VIEW_CALLS
from bedrock_chat.console.panels import Cell, Chart, ChartKind, Column, Figure, Panel, Series, Table, Unit
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import panel
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.histogram import percentile
from bedrock_chat.ledger.rollups.models import Timed

HALF: Final = 0.5
MOST: Final = 0.95


@panel("first-token", order=50, permission=VIEW_CALLS)
def first_token(request: HttpRequest, period: Period) -> Panel:
    """The time to the first token: half of the answers began within p50, 95 of 100 within p95."""
    by_day = reading.latencies_by_day(period.span, timed=Timed.FIRST_TOKEN)
    by_model = reading.latencies_by_model(period.span, timed=Timed.FIRST_TOKEN)
    total: Counter[int] = sum(by_model.values(), Counter())
    chart = Chart(
        ChartKind.LINES,
        f"Time to the first token by day, p50 and p95, {period.label}",
        [f"{day:%m-%d}" for day in period.days],
        [
            Series(name, [percentile(by_day.get(day, {}), part) for day in period.days])
            for name, part in (("p50", HALF), ("p95", MOST))
        ],
        Unit.MILLISECONDS,
        f"Day ({settings.REPORT_TIME_ZONE})",
        "Time to the first token",
    )
    rows = [
        *(_row(model, of_calls(period, model=model), by_model[model]) for model in sorted(by_model)),
        *(_row(f"{day}", of_calls(day), by_day[day]) for day in sorted(by_day, reverse=True)),
    ]
    heads = [
        Column("Model or day"),
        Column("p50", Unit.MILLISECONDS),
        Column("p95", Unit.MILLISECONDS),
        Column("Answers", Unit.COUNT),
    ]
    figures = [
        Figure(f"{name}, time to the first token", writing.milliseconds(percentile(total, part)), of_calls(period))
        for name, part in (("p50", HALF), ("p95", MOST))
    ]
    return Panel(
        "Time to the first token",
        figures=figures if total else (),
        chart=chart if total else None,
        table=Table(heads, rows),
        empty_text="No answer of this period is counted yet: those of the last quarter of an hour are when it is over.",
        note="Times are at most 5 % too long. The last minutes are counted when their quarter of an hour is over.",
    )


def _row(name: str, address: str, counts: Counter[int]) -> list[Cell]:
    return [
        Cell(name, link=address),
        writing.time_cell(percentile(counts, HALF), address),
        writing.time_cell(percentile(counts, MOST), address),
        writing.count_cell(sum(counts.values()), address),
    ]

"""What the console's home tells of knowledge: how many syncs are where, and what embedding cost day by day."""

from decimal import Decimal
from typing import Final

from django.conf import settings
from django.db.models import Count, Q
from django.http import HttpRequest

from bedrock_chat.bedrock import embedding_models
from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_calls, of_list
from bedrock_chat.console.panels import Cell, Chart, ChartKind, Column, Figure, Panel, Series, Table, Unit
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import panel
from bedrock_chat.ledger.rollups.figures import Figures
from bots.knowledge.models import Knowledge
from bots.models import SyncStatus

SHOWN: Final = {SyncStatus.QUEUED: "Queued", SyncStatus.RUNNING: "Running", SyncStatus.FAILED: "Failed"}


@panel("knowledge", order=64, permission="bots.view_knowledge")
def knowledge(request: HttpRequest, period: Period) -> Panel:
    """The syncs of this moment, and the calls of embeddings models in the period."""
    by_day = {day: _of_embeddings(period.models_by_day.get(day, {})) for day in period.days}
    models = sorted({key for prices in by_day.values() for key in prices})
    chart = Chart(
        ChartKind.STACKED,
        f"Cost of embedding by day and model in USD, {period.label}",
        [f"{day:%m-%d}" for day in period.days],
        [Series(key, [float(by_day[day].get(key, Figures()).price) for day in period.days]) for key in models],
        Unit.USD,
        f"Day ({settings.REPORT_TIME_ZONE})",
        "Cost (USD)",
    )
    rows = [
        [
            Cell(f"{day}", link=of_calls(day, purpose="embedding")),
            writing.count_cell(sum(figures.calls for figures in by_day[day].values())),
            writing.count_cell(sum(figures.tokens for figures in by_day[day].values())),
            writing.usd_cell(sum((figures.price for figures in by_day[day].values()), Decimal(0))),
        ]
        for day in reversed(period.days)
        if by_day[day]
    ]
    heads = [Column("Day"), Column("Calls", Unit.COUNT), Column("Tokens", Unit.COUNT), Column("Cost", Unit.USD)]
    return Panel(
        "Knowledge",
        figures=_figures(),
        chart=chart if rows else None,
        table=Table(heads, rows),
        empty_text="No text was embedded in this period. Give a bot a file or an address to know.",
    )


def _figures() -> list[Figure]:
    """Syncs by status, in one query over one row a bot."""
    counts = Knowledge.objects.filter(bot__isnull=False).aggregate(
        **{status.value: Count("pk", filter=Q(sync_status=status)) for status in SHOWN}
    )
    return [
        Figure(f"{label} syncs", writing.number(counts[status.value]), of_list("bots.knowledge", status=status.value))
        for status, label in SHOWN.items()
    ]


def _of_embeddings(by_model: dict[str, Figures]) -> dict[str, Figures]:
    return {key: figures for key, figures in by_model.items() if key in embedding_models.MODELS}

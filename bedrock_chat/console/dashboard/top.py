"""Panels of who costs most: people here, bots and keys by the apps that know their names."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_calls, of_row
from bedrock_chat.console.panels import Cell, Chart, ChartKind, Column, Panel, Series, Table, Unit
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import panel
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.figures import dearest_first
from bedrock_chat.ledger.rollups.models import Dimension

SHOWN: Final = 10

Names = Callable[[Iterable[str]], Mapping[str, str]]
"""Ids → id → name, in one query. An id without a name is of something that is gone."""


def top_panel(
    period: Period, *, by: Dimension, title: str, column: str, model: str, call_filter: str, names: Names, empty: str
) -> Panel:
    """The SHOWN dearest values of a dimension, with their names. `model` is whose pages their names lead to."""
    ranked = dearest_first(reading.usage(period.span, by=by, with_faults=False))[:SHOWN]
    name_of = names([value for value, _ in ranked])
    shown = [name_of.get(value) or f"{value} (gone)" for value, _ in ranked]
    chart = Chart(
        ChartKind.BARS,
        f"{title}, {period.label}",
        shown,
        [Series("Cost", [float(figures.price) for _, figures in ranked])],
        Unit.USD,
        column,
        "Cost (USD)",
    )
    rows = []
    for name, (value, figures) in zip(shown, ranked, strict=True):
        calls = of_calls(period, **{call_filter: value})
        rows.append(
            [
                Cell(name, link=of_row(model, value) if value in name_of else ""),
                Cell(value, link=calls),
                writing.count_cell(figures.calls, calls),
                writing.count_cell(figures.tokens, calls),
                writing.usd_cell(figures.price, calls),
            ]
        )
    heads = [
        Column(column),
        Column("Id"),
        Column("Requests", Unit.COUNT),
        Column("Tokens", Unit.COUNT),
        Column("Cost", Unit.USD),
    ]
    return Panel(title, chart=chart if rows else None, table=Table(heads, rows), empty_text=empty)


@panel("people", order=60, permission="bedrock_chat.view_user")
def people(request: HttpRequest, period: Period) -> Panel:
    """Those who paid most: who asked in the chat, and owners of bots that were asked through an API."""
    return top_panel(
        period,
        by=Dimension.USER,
        title="People who cost most",
        column="Person",
        model="bedrock_chat.user",
        call_filter="payer",
        names=lambda ids: dict(User.objects.filter(pk__in=list(ids)).values_list("pk", "username")),
        empty="Nobody paid for a call in this period.",
    )

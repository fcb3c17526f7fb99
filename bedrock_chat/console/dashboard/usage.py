"""Panels of what the service does and costs: the totals of a period, cost by day and model, requests and tokens."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_calls, of_refusals
from bedrock_chat.console.panels import Cell, Chart, ChartKind, Column, Figure, Panel, Series, Table, Unit
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import panel
from bedrock_chat.ledger.rollups.figures import Figures, dearest_first

MOST_MODELS: Final = 6
"""So many models have a colour of their own; the others are one more part of each bar."""
OTHERS: Final = "other models"
VIEW_CALLS: Final = "bedrock_chat.view_modelcall"


@panel("totals", order=10, permission=VIEW_CALLS)
def totals(request: HttpRequest, period: Period) -> Panel:
    """Requests, tokens, cost, errors and refusals in a word each."""
    total = period.total
    failed = sum(total.faults.values())
    refused = sum(period.refusals.values())
    hint = f"{writing.number(total.unpriced)} calls have no price" if total.unpriced else "all calls have a price"
    tokens_hint = f"{writing.short_number(total.input_tokens)} in, {writing.short_number(total.output_tokens)} out"
    return Panel(
        "At a glance",
        figures=[
            Figure("Requests to models", writing.number(total.calls), of_calls(period)),
            Figure("Tokens", writing.short_number(total.tokens), of_calls(period), tokens_hint),
            Figure(
                "Cost", writing.usd(total.price), of_calls(period, **({"priced": "no"} if total.unpriced else {})), hint
            ),
            Figure(
                "Errors of models", writing.number(failed), of_calls(period, fault="any"), _share(failed, total.calls)
            ),
            Figure("Refused by our limits", writing.number(refused), of_refusals(period)),
        ],
        table=Table(
            [Column("Figure"), Column("Value", Unit.COUNT)],
            [
                [Cell("Requests to models"), writing.count_cell(total.calls, of_calls(period))],
                *(
                    [Cell(name), writing.count_cell(value, of_calls(period))]
                    for name, value in (
                        ("Input tokens", total.input_tokens),
                        ("Output tokens", total.output_tokens),
                        ("Tokens read from the cache", total.cache_read_tokens),
                        ("Tokens written to the cache", total.cache_write_tokens),
                    )
                ),
                [Cell("Cost (USD)"), writing.usd_cell(total.price, of_calls(period))],
                [Cell("Calls without a price"), writing.count_cell(total.unpriced, of_calls(period, priced="no"))],
                [Cell("Errors of models"), writing.count_cell(failed, of_calls(period, fault="any"))],
                [Cell("Refused by our limits"), writing.count_cell(refused, of_refusals(period))],
            ],
        ),
        is_wide=True,
    )


@panel("cost-by-day", order=20, permission=VIEW_CALLS)
def cost_by_day(request: HttpRequest, period: Period) -> Panel:
    models = _dearest_models(period)
    named = models[:MOST_MODELS]
    columns = [*named, *([OTHERS] if len(models) > MOST_MODELS else [])]
    prices = {day: _prices(period.models_by_day.get(day, {}), named) for day in period.days}
    has_calls = bool(period.models_by_day)
    chart = Chart(
        ChartKind.STACKED,
        f"Cost by day and model in USD, {period.label}",
        [f"{day:%m-%d}" for day in period.days],
        [Series(name, [float(prices[day].get(name, 0)) for day in period.days]) for name in columns],
        Unit.USD,
        f"Day ({settings.REPORT_TIME_ZONE})",
        "Cost (USD)",
    )
    rows = [
        [
            Cell(f"{day}", link=_calls_of(day)),
            writing.usd_cell(sum(prices[day].values(), Decimal(0)), _calls_of(day)),
            *(
                writing.usd_cell(prices[day].get(name, Decimal(0)), _calls_of(day, name if name != OTHERS else ""))
                for name in columns
            ),
        ]
        for day in reversed(period.days)
        if day in period.models_by_day
    ]
    heads = [Column("Day"), Column("Cost", Unit.USD), *(Column(name, Unit.USD) for name in columns)]
    return Panel(
        "Cost by day and model",
        chart=chart if has_calls else None,
        table=Table(heads, rows),
        empty_text="No call to a model in this period. Choose a longer one, or ask something in the chat.",
        is_wide=True,
    )


@panel("requests-by-day", order=30, permission=VIEW_CALLS)
def requests_by_day(request: HttpRequest, period: Period) -> Panel:
    by_day = {day: Figures.total(models.values()) for day, models in period.models_by_day.items()}
    names = ("Answered", "Failed")
    counts = {day: _answered_and_failed(by_day.get(day, Figures())) for day in period.days}
    chart = Chart(
        ChartKind.STACKED,
        f"Requests to models by day, {period.label}",
        [f"{day:%m-%d}" for day in period.days],
        [Series(name, [counts[day][index] for day in period.days]) for index, name in enumerate(names)],
        Unit.COUNT,
        f"Day ({settings.REPORT_TIME_ZONE})",
        "Requests",
    )
    heads = ("Requests", "Failed", "Input tokens", "Output tokens", "Read from the cache", "Written to the cache")
    rows = [
        [
            Cell(f"{day}", link=_calls_of(day)),
            writing.count_cell(figures.calls, _calls_of(day)),
            writing.count_cell(sum(figures.faults.values()), _calls_of(day, fault="any")),
            *(
                writing.count_cell(tokens, _calls_of(day))
                for tokens in (
                    figures.input_tokens,
                    figures.output_tokens,
                    figures.cache_read_tokens,
                    figures.cache_write_tokens,
                )
            ),
        ]
        for day, figures in reversed(by_day.items())
    ]
    return Panel(
        "Requests and tokens by day",
        chart=chart if by_day else None,
        table=Table([Column("Day"), *(Column(head, Unit.COUNT) for head in heads)], rows),
    )


@panel("models", order=40, permission=VIEW_CALLS)
def models(request: HttpRequest, period: Period) -> Panel:
    """Tokens by model, as a chart, with requests and cost in the table."""
    ranked = dearest_first(_by_model(period))
    shown = ranked[:MOST_MODELS]
    chart = Chart(
        ChartKind.BARS,
        f"Tokens by model, {period.label}",
        [name for name, _ in shown],
        [Series("Tokens", [figures.tokens for _, figures in shown])],
        Unit.COUNT,
        "Model",
        "Tokens",
    )
    rows = [
        [
            Cell(name, link=of_calls(period, model=name)),
            writing.count_cell(figures.calls, of_calls(period, model=name)),
            writing.count_cell(figures.tokens, of_calls(period, model=name)),
            writing.usd_cell(figures.price, of_calls(period, model=name)),
        ]
        for name, figures in ranked
    ]
    heads = [Column("Model"), Column("Requests", Unit.COUNT), Column("Tokens", Unit.COUNT), Column("Cost", Unit.USD)]
    return Panel("Models", chart=chart if rows else None, table=Table(heads, rows))


def _by_model(period: Period) -> dict[str, Figures]:
    names = {name for by_model in period.models_by_day.values() for name in by_model}
    days = period.models_by_day.values()
    return {name: Figures.total(by_model[name] for by_model in days if name in by_model) for name in names}


def _dearest_models(period: Period) -> list[str]:
    return [name for name, _ in dearest_first(_by_model(period))]


def _prices(by_model: dict[str, Figures], named: Sequence[str]) -> dict[str, Decimal]:
    """Model, or OTHERS → USD."""
    prices: dict[str, Decimal] = {}
    for name, figures in by_model.items():
        column = name if name in named else OTHERS
        prices[column] = prices.get(column, Decimal(0)) + figures.price
    return prices


def _answered_and_failed(figures: Figures) -> tuple[int, int]:
    failed = sum(figures.faults.values())
    return figures.calls - failed, failed


def _calls_of(day: date, model: str = "", **filters: str) -> str:
    return of_calls(day, **filters, **({"model": model} if model else {}))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%} of all requests" if whole else "no requests"

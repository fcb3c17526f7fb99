"""Panels of what went wrong: errors and throttles of models by kind, and what our own limits refused."""

from typing import Final

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_calls, of_refusals
from bedrock_chat.console.dashboard.usage import VIEW_CALLS
from bedrock_chat.console.panels import Cell, Chart, ChartKind, Column, Panel, Series, Table, Unit
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import panel

MOST_KINDS: Final = 8

IN_WORDS: Final = {
    "ThrottlingException": "Bedrock throttled the account",
    "ModelNotReadyException": "The model was not ready",
    "ServiceUnavailableException": "Bedrock was unavailable",
    "EndpointConnectionError": "Bedrock could not be reached",
    "ModelErrorException": "The model failed",
    "ModelStreamErrorException": "The model failed while it answered",
    "InternalServerException": "Bedrock failed",
    "ConnectionCut": "The connection was cut",
    "AccessDeniedException": "The account may not use the model",
    "ServiceQuotaExceededException": "The account's quota is used up",
    "ModelTimeoutException": "The model took too long",
    "ValidationException": "Bedrock refused the request",
    "ProcessLost": "The server's process ended during the call",
}
"""Kinds of faults → what happened. Others are shown by their names."""


@panel("errors", order=55, permission=VIEW_CALLS)
def errors(request: HttpRequest, period: Period) -> Panel:
    """Calls that failed, by kind, each day."""
    total = period.total.faults
    kinds = sorted(total, key=lambda kind: (-total[kind], kind))
    shown = kinds[:MOST_KINDS]
    by_day = {
        day: {kind: sum(figures.faults.get(kind, 0) for figures in models.values()) for kind in shown}
        for day, models in period.models_by_day.items()
    }
    chart = Chart(
        ChartKind.STACKED,
        f"Errors and throttles by day and kind, {period.label}",
        [f"{day:%m-%d}" for day in period.days],
        [Series(_in_words(kind), [by_day.get(day, {}).get(kind, 0) for day in period.days]) for kind in shown],
        Unit.COUNT,
        f"Day ({settings.REPORT_TIME_ZONE})",
        "Calls that failed",
    )
    rows = [
        [
            Cell(_in_words(kind), link=of_calls(period, fault=kind)),
            Cell(kind),
            writing.count_cell(total[kind], of_calls(period, fault=kind)),
            Cell(round(total[kind] / period.total.calls, 6), f"{total[kind] / period.total.calls:.2%}"),
        ]
        for kind in kinds
    ]
    heads = [Column("What happened"), Column("Kind"), Column("Calls", Unit.COUNT), Column("Part of all", Unit.COUNT)]
    return Panel(
        "Errors and throttles of models",
        chart=chart if kinds else None,
        table=Table(heads, rows),
        empty_text="No call failed in this period.",
    )


@panel("refusals", order=80, permission=VIEW_CALLS)
def refusals(request: HttpRequest, period: Period) -> Panel:
    """Requests that our own limits refused. No model was called."""
    ranked = sorted(period.refusals.items(), key=lambda entry: (-entry[1], entry[0]))
    chart = Chart(
        ChartKind.BARS,
        f"Requests refused by our limits, {period.label}",
        [limit_in_words(limit) for limit, _ in ranked[:MOST_KINDS]],
        [Series("Refused", [count for _, count in ranked[:MOST_KINDS]])],
        Unit.COUNT,
        "Limit",
        "Requests refused",
    )
    rows = [
        [Cell(limit_in_words(limit), link=address), writing.count_cell(count, address)]
        for limit, count in ranked
        for address in [of_refusals(period, limit=limit)]
    ]
    return Panel(
        "Refused by our own limits",
        chart=chart if rows else None,
        table=Table([Column("Limit"), Column("Requests", Unit.COUNT)], rows),
        empty_text="No limit of ours refused a request in this period.",
    )


def limit_in_words(limit: str) -> str:
    return limit.replace("_", " ").capitalize()


def _in_words(kind: str) -> str:
    return IN_WORDS.get(kind, kind)

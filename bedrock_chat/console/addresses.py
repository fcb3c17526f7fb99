"""Addresses of lists in the console, with the filters that a figure stands for."""

from datetime import date
from functools import lru_cache
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from bedrock_chat.console.periods import Period, query_of_day


@lru_cache(maxsize=256)
def _list_address(model: str) -> str:
    try:
        return reverse(f"admin:{model.replace('.', '_')}_changelist")
    except NoReverseMatch:
        return ""


def of_list(model: str, **filters: str) -> str:
    """The address of a model's list: `of_list("bots.bot", sync_status__exact="FAILED")`. Empty where it has none."""
    address = _list_address(model)
    return f"{address}?{urlencode(filters)}" if address and filters else address


def of_row(model: str, key: str | int) -> str:
    """The address of a row's own page. Empty where the model has none."""
    try:
        return reverse(f"admin:{model.replace('.', '_')}_change", args=[key])
    except NoReverseMatch:
        return ""


def of_calls(when: Period | date, **filters: str) -> str:
    """The address of the ledger's calls of a period or a day: `of_calls(period, model="amazon-nova-pro")`."""
    return _in_time("bedrock_chat.modelcall", when, filters)


def of_refusals(when: Period | date, **filters: str) -> str:
    """The address of the requests of a period or a day that our own limits refused."""
    return _in_time("bedrock_chat.refusal", when, filters)


def _in_time(model: str, when: Period | date, filters: dict[str, str]) -> str:
    query = when.query if isinstance(when, Period) else query_of_day(when)
    if filters:
        query = f"{query}&{urlencode(filters)}"
    return f"{_list_address(model)}?{query}"

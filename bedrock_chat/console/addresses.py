"""Addresses of lists in the console, with the filters that a figure stands for."""

from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse

from bedrock_chat.console.periods import Period


def of_list(model: str, **filters: str) -> str:
    """The address of a model's list: `of_list("bots.bot", sync_status__exact="FAILED")`. Empty where it has none."""
    try:
        address = reverse(f"admin:{model.replace('.', '_')}_changelist")
    except NoReverseMatch:
        return ""
    return f"{address}?{urlencode(filters)}" if filters else address


def of_row(model: str, key: str | int) -> str:
    """The address of a row's own page. Empty where the model has none."""
    try:
        return reverse(f"admin:{model.replace('.', '_')}_change", args=[key])
    except NoReverseMatch:
        return ""


def of_calls(period: Period, **filters: str) -> str:
    """The address of the ledger's calls of a period: `of_calls(period, model="amazon-nova-pro")`."""
    query = "&".join(part for part in (period.query, urlencode(filters)) if part)
    return f"{of_list('bedrock_chat.modelcall')}?{query}"


def of_refusals(period: Period, **filters: str) -> str:
    """The address of the requests of a period that our own limits refused."""
    query = "&".join(part for part in (period.query, urlencode(filters)) if part)
    return f"{of_list('bedrock_chat.refusal')}?{query}"

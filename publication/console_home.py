"""What the console's home tells of published APIs: the dearest keys, keys that end soon, and questions that wait."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_list
from bedrock_chat.console.dashboard.top import top_panel
from bedrock_chat.console.panels import Figure, Panel
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import Severity, Trouble, extend, now, panel, warning
from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger.rollups.models import Dimension
from publication.measuring import UNDONE, figures
from publication.models import ApiKey

SOON: Final = timedelta(days=14)
"""Before its end a key is replaced: its users need some days for that."""


def ending_soon(keys: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
    """Keys that work now, end soon, and that no rotation has replaced yet."""
    at = database_now()
    return keys.filter(Q(expires_at__gt=at) & Q(expires_at__lte=at + SOON), is_enabled=True, replaced_by="")


class EndingFilter(admin.SimpleListFilter):
    title = "end"
    parameter_name = "ending"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("soon", f"Within {SOON.days} days")]

    def queryset(self, request: HttpRequest, rows: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
        return ending_soon(rows) if self.value() == "soon" else rows


extend(ApiKey, filters=[EndingFilter])


@warning("keys that end soon", permission="publication.view_apikey")
def keys_near_their_end(request: HttpRequest) -> Iterator[Trouble]:
    count = ending_soon(ApiKey.objects.all()).count()
    if count:
        keys = f"{count:,} API keys end" if count > 1 else "1 API key ends"
        text = f"{keys} within {SOON.days} days and no other replaces it yet."
        address = of_list("publication.apikey", ending="soon")
        yield Trouble(text, address, Severity.CAUTION, "Rotate them")


def _names(ids: Iterable[str]) -> dict[str, str]:
    """Key → its bot and what its owner calls it."""
    rows = ApiKey.objects.filter(pk__in=list(ids)).values_list("pk", "publication__bot__title", "description")
    return {key: f"{title}: {description}" if description else title for key, title, description in rows}


@panel("keys", order=62, permission="publication.view_apikey")
def keys(request: HttpRequest, period: Period) -> Panel:
    return top_panel(
        period,
        by=Dimension.KEY,
        title="API keys that cost most",
        column="Key of the bot",
        model="publication.apikey",
        call_filter="key",
        names=_names,
        empty="No published API was called in this period.",
    )


@now("questions of APIs", order=20, permission="publication.view_turnrequest")
def questions(request: HttpRequest) -> Iterator[Figure]:
    [undone] = figures()[UNDONE].values()
    address = of_list("publication.turnrequest", status="waiting")
    yield Figure("Questions of APIs, waiting or running", writing.number(undone), address)

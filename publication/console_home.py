"""What the console's home tells of published APIs: the dearest keys, and questions that wait; which keys end soon."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_list
from bedrock_chat.console.dashboard.top import top_panel
from bedrock_chat.console.panels import Figure, Panel
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import extend, now, panel
from bedrock_chat.ledger.rollups.models import Dimension
from publication.alerting import ending_soon
from publication.measuring import UNDONE, figures
from publication.models import ApiKey


class EndingFilter(admin.SimpleListFilter):
    title = "end"
    parameter_name = "ending"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("soon", f"Within {settings.ALERT_KEY_DAYS} days")]

    def queryset(self, request: HttpRequest, rows: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
        return ending_soon(rows) if self.value() == "soon" else rows


extend(ApiKey, filters=[EndingFilter])


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

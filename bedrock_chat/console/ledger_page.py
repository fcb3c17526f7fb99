"""The page of the ledger: every call to a model, filtered by whatever the dashboard's figures add up."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from bedrock_chat.bedrock import embedding_models
from bedrock_chat.bedrock.catalog import MODELS
from bedrock_chat.console import periods, writing
from bedrock_chat.console.filters import ChoiceFilter, Condition, PeriodFilter, choice_filter, id_filter
from bedrock_chat.console.id_search import IdSearchedAdmin
from bedrock_chat.console.key_paging import KeyBounds
from bedrock_chat.ledger.models import ModelCall, Purpose, paid_by
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.figures import THROTTLED

FAILED: Final = "any"


class FaultFilter(ChoiceFilter):
    title = "error"
    parameter_name = column = "fault"

    def choices_known(self) -> Iterable[tuple[str, str]]:
        return [(FAILED, "Any error"), (THROTTLED, "Throttled by Bedrock"), ("ProcessLost", "The process was lost")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == FAILED:
            return rows.exclude(fault="")
        return super().queryset(request, rows)


class PricedFilter(ChoiceFilter):
    title = "price"
    parameter_name = column = "priced"

    def choices_known(self) -> Iterable[tuple[str, str]]:
        return [("yes", "Priced"), ("no", "Unpriced")]

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in ("yes", "no"):
            return rows
        return rows.filter(price__isnull=self.value() == "no")


@admin.register(ModelCall)
class ModelCallAdmin(IdSearchedAdmin):
    id_columns = ("user_id", "payer_id", "bot_id", "key_id", "publication_id")
    other_id_column = "conversation_external_id"
    indexed: ClassVar[Mapping[str, Condition]] = {"payer_id": paid_by}
    list_display = [
        "when",
        "purpose",
        "asked_by",
        "model",
        "calls_made",
        "input_tokens",
        "output_tokens",
        "usd",
        "took",
        "stop_reason",
        "error",
    ]
    list_filter = [
        PeriodFilter,
        choice_filter(
            "model",
            "model",
            "model",
            lambda: [(key, key) for key in (*sorted(MODELS), *sorted(embedding_models.MODELS))],
        ),
        choice_filter("purpose", "purpose", "what for", lambda: Purpose.choices),
        FaultFilter,
        PricedFilter,
        id_filter("payer", "payer_id", "who pays", paid_by),
        id_filter("user", "user_id", "person"),
        id_filter("bot", "bot_id", "bot"),
        id_filter("key", "key_id", "API key"),
        id_filter("publication", "publication_id", "published API"),
        id_filter("conversation", "conversation_external_id", "conversation"),
    ]
    indexed_filters = frozenset({"payer", "user", "bot", "key", "publication"})
    search_fields = ["user_id"]
    search_help_text = "The whole id of a person, a bot, a key, an API or a conversation."
    open_columns = frozenset({"first_token_ms", "groups"})  # a time, and names of groups
    empty_text = "Each call to a model is a row here. Ask something in the chat, and it appears."

    @admin.display(description="when")
    def when(self, row: ModelCall) -> datetime:
        return row.created_at

    @admin.display(description="asked by")
    def asked_by(self, row: ModelCall) -> str:
        """A person, or a key of a published API."""
        return row.user_id or f"API key {row.key_id}"

    @admin.display(description="calls")
    def calls_made(self, row: ModelCall) -> int:
        return row.number_of_calls

    @admin.display(description="took")
    def took(self, row: ModelCall) -> str:
        return writing.milliseconds(row.latency_ms)

    @admin.display(description="error")
    def error(self, row: ModelCall) -> str:
        return row.fault

    @admin.display(description="price (USD)", empty_value="unpriced")
    def usd(self, row: ModelCall) -> str | None:
        return None if row.price is None else f"{row.price:.6f}"

    def key_bounds(self, request: HttpRequest) -> KeyBounds:
        period = periods.period_of(request.GET.dict(), default=None)
        return KeyBounds() if period is None else KeyBounds(*reading.keys_of(period.span))

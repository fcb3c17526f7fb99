"""The page of what our own limits refused, by quarter of an hour: no call was made, so the ledger has no row."""

from django.contrib import admin

from bedrock_chat.console.filters import PeriodFilter, id_filter
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin
from bedrock_chat.ledger.rollups.models import Refusal


class StartFilter(PeriodFilter):
    column = "start"


@admin.register(Refusal)
class RefusalAdmin(KeyPagedReadOnlyAdmin):
    list_display = ["start", "limit", "count", "payer_id", "bot_id", "key_id"]
    list_filter = [
        StartFilter,
        id_filter("limit", "limit", "limit"),
        id_filter("payer", "payer_id", "who pays"),
        id_filter("bot", "bot_id", "bot"),
        id_filter("key", "key_id", "API key"),
    ]
    time_column = "start"
    empty_text = (
        "Requests that a limit of this server refused are counted here: too many at once, too large, no budget."
    )

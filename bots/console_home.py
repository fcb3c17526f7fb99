"""What the console's home tells of bots: the dearest ones, and guardrails that could not be made."""

from collections.abc import Iterator

from django.http import HttpRequest

from bedrock_chat.console.addresses import of_list
from bedrock_chat.console.dashboard.top import top_panel
from bedrock_chat.console.panels import Panel
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import Severity, Trouble, panel, warning
from bedrock_chat.ledger.rollups.models import Dimension
from bots.models import Bot, SyncStatus


@panel("bots", order=61, permission="bots.view_bot")
def bots(request: HttpRequest, period: Period) -> Panel:
    return top_panel(
        period,
        by=Dimension.BOT,
        title="Bots that cost most",
        column="Bot",
        model="bots.bot",
        call_filter="bot",
        names=lambda ids: dict(Bot.objects.filter(pk__in=list(ids)).values_list("pk", "title")),
        empty="No bot was asked in this period. People make bots in the chat.",
    )


@warning("bots that failed to sync", permission="bots.view_bot")
def failed_syncs(request: HttpRequest) -> Iterator[Trouble]:
    """Bots whose knowledge or guardrail could not be brought on."""
    failed = Bot.objects.filter(sync_status=SyncStatus.FAILED).count()
    if failed:
        bots_failed = f"{failed:,} bots" if failed > 1 else "1 bot"
        text = f"{bots_failed} could not be synced: their guardrail or knowledge is not as their owners set it."
        yield Trouble(text, of_list("bots.bot", sync_status__exact=SyncStatus.FAILED), Severity.ERROR, "The bots")

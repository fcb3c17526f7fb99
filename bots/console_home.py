"""What the console's home tells of bots: the dearest ones, and what they know."""

from django.http import HttpRequest

from bedrock_chat.console.dashboard.top import top_panel
from bedrock_chat.console.panels import Panel
from bedrock_chat.console.periods import Period
from bedrock_chat.console.registry import panel
from bedrock_chat.ledger.rollups.models import Dimension
from bots.knowledge import console_panel
from bots.models import Bot

__all__ = ["bots", "console_panel"]


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

"""What the first glance of the console tells of bots."""

from collections.abc import Iterable
from typing import Final

from django.http import HttpRequest
from django.urls import reverse

from bedrock_chat.console import registry
from bedrock_chat.console.registry import Severity, Trouble
from bots.models import Bot, SyncStatus

MOST_COUNTED: Final = 100


@registry.warning("failed syncs", permission="bots.view_bot")
def failed_syncs(request: HttpRequest) -> Iterable[Trouble]:
    """Bots whose knowledge or guardrail could not be made."""
    count = Bot.objects.filter(sync_status=SyncStatus.FAILED).order_by()[:MOST_COUNTED].count()
    if count:
        number = f"{MOST_COUNTED} or more bots are" if count == MOST_COUNTED else f"{count} bots are"
        number = "1 bot is" if count == 1 else number
        address = f"{reverse('admin:bots_bot_changelist')}?sync_status__exact={SyncStatus.FAILED}"
        yield Trouble(f"{number} not ready: its guardrail could not be made.", address, Severity.ERROR)

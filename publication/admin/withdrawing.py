"""Ending an API in the console, from its own page or from its bot's."""

from collections.abc import Iterable, Mapping
from typing import Any

from bedrock_chat.console.confirming import ConfirmedAction
from bedrock_chat.identity.caller import Caller
from bots.models import Bot
from publication import lifecycle
from publication.models import Publication

CONSEQUENCES = (
    "Its keys are deleted: the next request with one is refused.",
    "Questions that wait are never answered, and answers under way are stopped.",
    "Its conversations stay until the bot's owner is erased. The bot can be published again, with new keys.",
)


class _Ending:
    """What both pages have in common."""

    name, label, icon = "withdraw", "Unpublish", "cloud_off"
    permission = "publication.delete_publication"
    is_dangerous = True

    def consequences(self, row: Any) -> Iterable[str]:
        return CONSEQUENCES


class Withdraw(_Ending, ConfirmedAction[Publication]):
    def perform(self, row: Publication, values: Mapping[str, Any], *, actor: Caller) -> str:
        bot_id = row.bot_id
        lifecycle.withdraw(bot_id, actor=actor)
        return f"The API of {bot_id} is withdrawn."


class WithdrawOfBot(_Ending, ConfirmedAction[Bot]):
    def is_offered(self, row: Bot) -> bool:
        return row.published_at is not None

    def perform(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> str:
        lifecycle.withdraw(row.pk, actor=actor)
        return "The bot is no longer published."

"""Pinning, unpinning and unsharing a bot in the console."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from bedrock_chat.console.confirming import ConfirmedAction, ConsoleForm
from bedrock_chat.identity.caller import Caller
from bots import sharing
from bots.models import LAST_PIN, Bot, Scope


class OrderForm(ConsoleForm):
    order = forms.IntegerField(
        min_value=0, max_value=LAST_PIN, help_text="Its place among the pinned bots: 0 comes first. Two may share one."
    )


class Pin(ConfirmedAction[Bot]):
    name, label, button, icon = "pin", "Pin", "Pin for everybody", "keep"
    permission = "bots.pin_bot"
    form_class = OrderForm

    def is_offered(self, row: Bot) -> bool:
        return row.scope == Scope.ALL

    def consequences(self, row: Bot | None) -> Iterable[str]:
        yield "Everybody sees it among the pinned bots of the store, in this order."
        yield "While it is pinned, its owner can neither delete it nor share it with fewer people."

    def initial(self, row: Bot) -> dict[str, Any]:
        return {"order": row.pinned_order or 0}

    def perform(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> str:
        sharing.pin(row.pk, values["order"], actor=actor)
        return f"The bot is pinned at place {values['order']}."


class Unpin(ConfirmedAction[Bot]):
    name, label, icon = "unpin", "Unpin", "keep_off"
    permission = "bots.pin_bot"
    is_for_many = True

    def is_offered(self, row: Bot) -> bool:
        return row.pinned_order is not None

    def consequences(self, row: Bot | None) -> Iterable[str]:
        yield "It leaves the pinned bots. It stays shared as it is."

    def perform(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> str:
        sharing.unpin(row.pk, actor=actor)
        return "The bot is no longer pinned."


class Unshare(ConfirmedAction[Bot]):
    name, label, icon = "unshare", "Unshare", "lock"
    permission = "bots.unshare_bot"
    is_for_many = True

    def is_offered(self, row: Bot) -> bool:
        return row.scope != Scope.PRIVATE

    def consequences(self, row: Bot | None) -> Iterable[str]:
        yield "Its owner alone may use it. For everybody else it leaves the store, and their conversations with it end."
        yield "The list of people and groups that it is shared with is emptied."
        yield "A bot that is pinned or published stays shared: unpin it or withdraw its API first."

    def perform(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> str:
        sharing.share(row.pk, Scope.PRIVATE, actor=actor)
        return "The bot is private now."

"""Editing a bot in the console: the same validation and the same write as over the API."""

from collections.abc import Iterable, Mapping
from typing import Any

from bedrock_chat.console.confirming import ConfirmedAction, ConsoleForm
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.views import validated
from bots import editing
from bots.admin.forms import BotForm
from bots.models import Bot
from bots.serializers.bots import BotModifyInputSerializer


class Edit(ConfirmedAction[Bot]):
    name, label, icon = "edit", "Edit", "edit"
    button = "Save as the next version"
    permission = "bots.change_bot"

    def consequences(self, row: Bot | None) -> Iterable[str]:
        yield "What changes makes a version, with your id as its author. Everybody who uses the bot gets it at once."

    def form(self, row: Bot | None, data: Any = None) -> ConsoleForm:
        assert row is not None
        return BotForm(row, data)

    def values(self, form: ConsoleForm) -> Mapping[str, Any]:
        assert isinstance(form, BotForm)
        return form.body()

    def perform(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> str:
        sent = validated(BotModifyInputSerializer, values)
        base_version = sent.pop("base_version", None)
        bot = editing.modify(row.pk, sent, base_version=base_version, actor=actor)
        if bot.version == base_version:
            return "Saved; nothing that versions keep has changed."
        return f"Saved as version {bot.version}."

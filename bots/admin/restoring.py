"""Restoring a version of a bot in the console, with what that would change."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms
from django.utils.html import format_html

from bedrock_chat.console.confirming import ConfirmedAction, ConsoleForm, Preview, Table
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import zones
from bots import editing, versions
from bots.models import Bot, BotVersion
from bots.versions import Difference

LONGEST_SHOWN: Final = 4_000
"""Characters of a difference."""
SECRETS: Final = "another set of keys; they are not shown"


class VersionForm(ConsoleForm):
    base_version = forms.IntegerField(widget=forms.HiddenInput)
    version = forms.TypedChoiceField(coerce=int)

    def __init__(self, row: Bot, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, initial={"base_version": row.version}, **kwargs)
        kept = BotVersion.objects.filter(bot=row, number__lt=row.version).order_by("-number")
        choices = [
            (number, f"{number}, of {zones.written(created_at)}: {', '.join(changed) or 'as it was made'}")
            for number, created_at, changed in kept.values_list("number", "created_at", "changed")
        ]
        field = self.fields["version"]
        assert isinstance(field, forms.TypedChoiceField)
        field.choices = choices


class Restore(ConfirmedAction[Bot]):
    name, label, icon = "restore", "Restore a version", "history"
    button = "Restore it"
    permission = "bots.change_bot"
    is_previewed = True

    def is_offered(self, row: Bot) -> bool:
        return row.version > 1

    def consequences(self, row: Bot | None) -> Iterable[str]:
        yield "The version's content becomes the newest version. Nothing is lost: today's stays as the one before."
        yield "Keys of tools, the scope and the people whom it is shared with stay as they are today."

    def form(self, row: Bot | None, data: Any = None) -> ConsoleForm:
        assert row is not None
        return VersionForm(row, data)

    def preview(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> Preview:
        number = values["version"]
        differences = versions.differences(row.pk, number, actor=actor)
        if not differences:
            return Preview([f"Version {number} says what the bot says today: nothing would change."])
        rows = [(difference.name.replace("_", " "), _shown(difference)) for difference in differences]
        return Preview(tables=[Table(f"From today to version {number}", ("Field", "Difference"), rows)])

    def perform(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> str:
        bot = editing.restore(row.pk, values["version"], base_version=values["base_version"], actor=actor)
        return f"Version {values['version']} is restored; the bot has version {bot.version} now."


def _shown(difference: Difference) -> str:
    """The lines that go and come, with two lines around them."""
    if difference.name == "secrets":
        return SECRETS
    lines = difflib.unified_diff(_lines(difference.today), _lines(difference.then), n=2, lineterm="")
    text = "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
    if len(text) > LONGEST_SHOWN:
        text = text[:LONGEST_SHOWN] + "\n…"
    return format_html('<pre class="console-pre">{}</pre>', text)


def _lines(value: Any) -> list[str]:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return text.splitlines()

"""Giving a bot to another owner in the console."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from bedrock_chat.console.confirming import ConfirmedAction, ConsoleForm, Preview, Table
from bedrock_chat.identity.caller import Caller
from bots import ownership
from bots.models import USER_ID_LENGTH, Bot


class OwnerForm(ConsoleForm):
    owner = forms.CharField(
        label="New owner",
        max_length=USER_ID_LENGTH,
        help_text="The id, the name or the address of somebody who has signed in here.",
    )


class Transfer(ConfirmedAction[Bot]):
    name, label, icon = "transfer", "Transfer", "swap_horiz"
    button = "Give it to them"
    permission = "bots.transfer_bot"
    form_class = OwnerForm
    is_previewed = True
    is_dangerous = True

    def consequences(self, row: Bot | None) -> Iterable[str]:
        yield "The bot, its versions and files, and its API with keys and conversations belong to the new owner."
        yield "The old owner keeps what sharing gives them: of a private bot nothing."
        yield "What was spent until now stays with who paid it. What its API costs from now on, the new owner pays."
        yield "Nothing on hold changes hands: release the hold on the bot or on its owner first, if there is one."
        yield "Keys of tools and of the API go on working, and nobody can read them: the new owner replaces them."

    def preview(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> Preview:
        owner = ownership.find_person(values["owner"])
        columns = ("", "Name", "Id")
        people = [("From", str(row.owner), row.owner_id), ("To", str(owner), owner.pk)]
        return Preview(tables=[Table("Whose it is", columns, people)])

    def perform(self, row: Bot, values: Mapping[str, Any], *, actor: Caller) -> str:
        owner = ownership.find_person(values["owner"])
        ownership.transfer(row.pk, owner.pk, actor=actor)
        return f"The bot belongs to {owner} now."

"""What operators do with a key: rotate it, switch it off and on, revoke it, show its value, add to its quota."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.utils import timezone

from bedrock_chat.console.confirming import ConfirmedAction, ConsoleForm, ShownOnce
from bedrock_chat.identity.caller import Caller
from publication import keys, operating
from publication.models import ApiKey
from publication.operating import KeyState
from publication.serializers.publications import LARGEST, LONGEST_OVERLAP

REVEAL = "publication.reveal_apikey"


def _works(row: ApiKey) -> bool:
    return operating.state_of(row, timezone.now()) == KeyState.ACTIVE


class OverlapForm(ConsoleForm):
    overlap_hours = forms.FloatField(
        label="Overlap, in hours",
        initial=24,
        min_value=0,
        max_value=LONGEST_OVERLAP,
        widget=forms.NumberInput({"step": "any"}),
        help_text="How long the old key works beside the new one. 0: it ends now.",
    )


class Rotate(ConfirmedAction[ApiKey]):
    name, label, icon = "rotate", "Rotate", "autorenew"
    button = "Make the new key"
    permission = "publication.rotate_apikey"
    form_class = OverlapForm

    def is_offered(self, row: ApiKey) -> bool:
        return _works(row)

    def consequences(self, row: ApiKey | None) -> Iterable[str]:
        yield "A new key comes in the place of this one, which ends with the overlap. Both draw on the same quota."
        if settings.API_KEY_REVEAL == "once":
            yield "Its value is shown on the next page and never again: no copy of it is kept."
        else:
            yield "Operators who may show values see it on the next page; the bot's owner reads it over the API."

    def perform(self, row: ApiKey, values: Mapping[str, Any], *, actor: Caller) -> ShownOnce:
        overlap = timedelta(hours=values["overlap_hours"])
        shown = keys.rotate(row.publication.bot_id, row.pk, overlap, actor=actor)
        # Without a copy, this answer is the only one that ever has it.
        permission = REVEAL if shown.key.encrypted_value else self.permission
        return ShownOnce(f"The new key is {shown.key.pk}.", "Its value, shown this once", shown.value, permission)


class Reveal(ConfirmedAction[ApiKey]):
    name, label, icon = "reveal", "Show the value", "visibility"
    button = "Show it once"
    permission = REVEAL

    def is_offered(self, row: ApiKey) -> bool:
        return settings.API_KEY_REVEAL != "once"

    def consequences(self, row: ApiKey | None) -> Iterable[str]:
        yield "Whoever has the value asks the API in the name of the bot's owner, who pays."
        yield "That you looked is written into the audit."

    def perform(self, row: ApiKey, values: Mapping[str, Any], *, actor: Caller) -> ShownOnce:
        shown = keys.look_at(row.publication.bot_id, row.pk, actor=actor)
        message = (
            "The next page does not have it." if shown.value else "No copy of this key's value is kept: rotate it."
        )
        return ShownOnce(message, f"The value of {row.pk}", shown.value, self.permission)


class Disable(ConfirmedAction[ApiKey]):
    name, label, icon = "disable", "Disable", "block"
    permission = "publication.change_apikey"
    is_for_many = True

    def is_offered(self, row: ApiKey) -> bool:
        return row.is_enabled

    def consequences(self, row: ApiKey | None) -> Iterable[str]:
        yield "The next request with it is refused. Questions that were accepted are still answered."
        yield "It can be enabled again."

    def perform(self, row: ApiKey, values: Mapping[str, Any], *, actor: Caller) -> str:
        keys.change(row.publication.bot_id, row.pk, {"is_enabled": False}, actor=actor)
        return "The key is disabled."


class Enable(ConfirmedAction[ApiKey]):
    name, label, icon = "enable", "Enable", "check_circle"
    permission = "publication.change_apikey"
    is_for_many = True

    def is_offered(self, row: ApiKey) -> bool:
        return not row.is_enabled

    def consequences(self, row: ApiKey | None) -> Iterable[str]:
        yield "It opens its API again, unless it has expired."

    def perform(self, row: ApiKey, values: Mapping[str, Any], *, actor: Caller) -> str:
        keys.change(row.publication.bot_id, row.pk, {"is_enabled": True}, actor=actor)
        return "The key is enabled."


class Revoke(ConfirmedAction[ApiKey]):
    name, label, icon = "revoke", "Revoke", "delete"
    permission = "publication.delete_apikey"
    is_dangerous = True
    is_for_many = True

    def consequences(self, row: ApiKey | None) -> Iterable[str]:
        yield "The key is deleted, and the next request with it is refused. Nothing brings it back."
        yield "What it has used of its quota stays used until the period ends."

    def perform(self, row: ApiKey, values: Mapping[str, Any], *, actor: Caller) -> str:
        key_id = row.pk
        keys.revoke(row.publication.bot_id, key_id, actor=actor)
        return f"The key {key_id} is revoked."


class RequestsForm(ConsoleForm):
    requests = forms.IntegerField(min_value=1, max_value=LARGEST, label="Questions more")


class TopUp(ConfirmedAction[ApiKey]):
    name, label, icon = "top-up", "Top up", "add_circle"
    permission = "publication.top_up_apikey"
    form_class = RequestsForm

    def is_offered(self, row: ApiKey) -> bool:
        return row.publication.quota_limit is not None

    def consequences(self, row: ApiKey | None) -> Iterable[str]:
        yield "So many questions more in the present period. When it ends, the usual quota holds again."
        yield "Where limits count for all keys together, all of them share it."

    def perform(self, row: ApiKey, values: Mapping[str, Any], *, actor: Caller) -> str:
        keys.top_up(row.publication.bot_id, row.pk, values["requests"], actor=actor)
        return f"{values['requests']:,} questions more in this period."

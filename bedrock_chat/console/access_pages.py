"""Console pages of operators' access: who is signed in where, and who has a second factor. For admins."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from bedrock_chat.console import second_factor, sessions
from bedrock_chat.console.confirming import ConfirmedAction, ConfirmingPage
from bedrock_chat.console.roles import Role, allow
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import OperatorSession, SecondFactor

END_SESSIONS = "bedrock_chat.delete_operatorsession"
REMOVE_FACTORS = "bedrock_chat.delete_secondfactor"
allow(Role.ADMIN, "bedrock_chat.view_operatorsession", "bedrock_chat.view_secondfactor", END_SESSIONS, REMOVE_FACTORS)


class EndSession(ConfirmedAction[OperatorSession]):
    name = "end"
    label = "End the session"
    permission = END_SESSIONS
    is_for_many = is_dangerous = True

    def consequences(self, row: OperatorSession | None) -> Iterable[str]:
        return ["The browser is signed out with its next request.", "Whoever knows the password can sign in again."]

    def perform(self, row: OperatorSession, values: Mapping[str, Any], *, actor: Caller) -> str:
        sessions.end(row, actor=actor)
        return "The session was ended."


@admin.register(OperatorSession)
class OperatorSessionAdmin(ReadOnlyAdmin, ConfirmingPage):
    """Everybody's sessions. One's own are on the page of one's account."""

    list_display = ["user", "started_at", "seen_at", "expires_at", "network", "shown_browser", "has_second_factor"]
    list_select_related = ["user"]
    search_fields = ["user__id__exact", "=user__login"]
    search_help_text = "The id or the login of an operator."
    ordering = ["-seen_at", "pk"]
    open_columns = frozenset({"has_second_factor"})
    fields = ["user", "started_at", "seen_at", "expires_at", "network", "browser", "has_second_factor"]
    confirmed = [EndSession()]
    empty_text = "Nobody is signed in."

    @admin.display(description="browser")
    def shown_browser(self, row: OperatorSession) -> str:
        return row.shown_browser

    def get_queryset(self, request: HttpRequest) -> QuerySet[OperatorSession]:
        alive = session_store.live(timezone.now()).filter(user__isnull=False, user__is_active=True)
        rows: QuerySet[OperatorSession] = super().get_queryset(request)
        return rows.filter(pk__in=alive.values("pk"))


class RemoveSecondFactor(ConfirmedAction[SecondFactor]):
    name = "remove"
    label = "Remove the second factor"
    permission = REMOVE_FACTORS
    is_dangerous = True

    def consequences(self, row: SecondFactor | None) -> Iterable[str]:
        return [
            "For somebody who has lost the app and the recovery codes. Make sure that it is they who ask.",
            "Their sessions end. They sign in with the password alone, or enrol another app where one is required.",
        ]

    def perform(self, row: SecondFactor, values: Mapping[str, Any], *, actor: Caller) -> str:
        second_factor.remove_anothers(row.user, actor=actor)
        return "The second factor was removed."


@admin.register(SecondFactor)
class SecondFactorAdmin(ReadOnlyAdmin, ConfirmingPage):
    list_display = ["user", "confirmed_at", "codes_left", "failures", "blocked_until"]
    list_select_related = ["user"]
    search_fields = ["user__id__exact", "=user__login"]
    search_help_text = "The id or the login of an operator."
    ordering = ["user_id"]
    fields = ["user", "created_at", "confirmed_at", "codes_left", "failures", "blocked_until"]
    confirmed = [RemoveSecondFactor()]
    empty_text = "No operator has enrolled a second factor. They do so on the page of their account."

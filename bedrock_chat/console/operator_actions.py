"""What admins do with operators on the page of a person: make somebody one, and change their role."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms

from bedrock_chat.console import operators, roles
from bedrock_chat.console.confirming import ConfirmedAction, ConsoleForm, ShownOnce
from bedrock_chat.console.operators import LONGEST_LOGIN
from bedrock_chat.console.roles import Role
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User

CHANGE_OPERATORS: Final = "bedrock_chat.change_user"
roles.allow(Role.ADMIN, CHANGE_OPERATORS)

ROLES: Final = [
    (Role.VIEWER.value, "viewer: sees everything but contents and values"),
    (Role.SUPPORT.value, "support: also changes limits and budgets, suspends, retries and rotates"),
    (Role.ADMIN.value, "admin: also erases, exports, reveals, and changes models and operators"),
]


class RoleForm(ConsoleForm):
    role = forms.ChoiceField(choices=[("", "none: signs in, and sees no page"), *ROLES], required=False)


class SetRole(ConfirmedAction[User]):
    name, label, icon = "role", "Change the role", "badge"
    permission = CHANGE_OPERATORS
    form_class = RoleForm

    def is_offered(self, row: User) -> bool:
        return row.is_staff and not row.is_superuser

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "It holds from their next request on. What they have done stays, and so does the audit of it."

    def initial(self, row: User) -> dict[str, Any]:
        return {"role": roles.role_of(row) or ""}

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        role = Role(values["role"]) if values["role"] else None
        operators.set_role(row, role, actor=actor)
        return f"{row} has the role {role}." if role else f"{row} has no role."


class OperatorForm(ConsoleForm):
    login = forms.CharField(max_length=LONGEST_LOGIN, strip=False, help_text="They type it to sign in.")
    role = forms.ChoiceField(choices=ROLES)


class MakeOperator(ConfirmedAction[User]):
    name, label, icon = "make-operator", "Make an operator", "add_moderator"
    permission = CHANGE_OPERATORS
    form_class = OperatorForm

    def is_offered(self, row: User) -> bool:
        return row.is_active and not row.is_staff

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "They sign in to the console with this login and a password, which the next page shows once."
        yield "Let them change it on the page of their account, and enrol a second factor there."
        yield "In the chat nothing changes for them."

    def initial(self, row: User) -> dict[str, Any]:
        return {"login": row.username[:LONGEST_LOGIN]}

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> ShownOnce:
        password = operators.promote(row.pk, values["login"], Role(values["role"]), actor=actor)
        message = f"{values['login']} may sign in to the console as {values['role']}."
        return ShownOnce(message, "Their password, shown this once", password, self.permission)

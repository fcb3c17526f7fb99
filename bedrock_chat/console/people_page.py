"""Console pages of people, and of those who are being erased."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import format_html_join

from bedrock_chat.console import roles
from bedrock_chat.console.budgets_page import BudgetForm, of_budget, wanted_of
from bedrock_chat.console.confirming import ConfirmedAction, ConfirmingPage, ConsoleForm
from bedrock_chat.console.operator_actions import CHANGE_OPERATORS, MakeOperator, SetRole
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.budgets import amounts, setting
from bedrock_chat.ledger.budgets.models import Budget, PayerKind
from bedrock_chat.ledger.rollups import ranking, reading
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.people import erasing, exporting, suspending
from bedrock_chat.people.models import Erasure
from bedrock_chat.retention import holds
from bedrock_chat.retention.models import LONGEST_REASON, Hold, HoldKind

roles.allow(roles.Role.VIEWER, "bedrock_chat.view_user", "bedrock_chat.view_erasure")
roles.allow(roles.Role.SUPPORT, "bedrock_chat.suspend_user")
ERASE = "bedrock_chat.erase_user"
roles.allow(roles.Role.ADMIN, ERASE, "bedrock_chat.export_user", "bedrock_chat.change_hold")

COST_DAYS = 30
"""Days whose cost the list shows, the last one today."""
SHOWN_GROUPS = 5


class _LettingIn(ConfirmedAction[User]):
    permission = "bedrock_chat.suspend_user"
    is_for_many = True

    def permission_on(self, row: User) -> str:
        """An operator is suspended and restored by those alone who may change operators."""
        return CHANGE_OPERATORS if row.is_staff else self.permission


class Suspend(_LettingIn):
    name, label, icon = "suspend", "Suspend", "block"
    is_dangerous = True

    def is_offered(self, row: User) -> bool:
        return row.is_active

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "Their next request is refused with 403. An answer that is being written now is finished."
        yield "The APIs that they have published refuse every call."
        yield "Nothing of theirs is deleted, and you can restore them."

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        suspending.suspend(row.pk, actor=actor)
        return f"{row} is suspended."


class Restore(_LettingIn):
    name, label, icon = "restore", "Restore", "undo"

    def is_offered(self, row: User) -> bool:
        return not row.is_active

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "They are let in again with their next request, and so are the callers of their published APIs."

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        suspending.restore(row.pk, actor=actor)
        return f"{row} is let in again."


class SetBudget(ConfirmedAction[User]):
    name, label, icon = "set-budget", "Set a budget", "savings"
    permission = "bedrock_chat.change_budget"
    form_class = BudgetForm

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "What was spent before in the period that runs counts for it."
        yield "A budget of the same unit, period and kind gets the new amount."

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        wanted = wanted_of(values, PayerKind.USER, row.pk)
        setting.set_budget(wanted, values["allowance"], actor=actor)
        return f"{row} may spend {amounts.sentence(values['allowance'], wanted.unit)} a {wanted.period}."


class BudgetField(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return str(of_budget(obj))


class ChooseBudgetForm(ConsoleForm):
    budget = BudgetField(Budget.objects.none(), empty_label=None)


class RemoveBudget(ConfirmedAction[User]):
    name, label, icon = "remove-budget", "Remove a budget", "money_off"
    permission = "bedrock_chat.change_budget"
    form_class = ChooseBudgetForm
    is_dangerous = True

    def is_offered(self, row: User) -> bool:
        return bool(budgets_of(row.pk).exists())

    def form(self, row: User | None, data: Any = None) -> ConsoleForm:
        form = super().form(row, data)
        field = form.fields["budget"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = budgets_of(row.pk if row else "")
        return form

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        wanted = of_budget(values["budget"])
        setting.remove_budget(wanted, actor=actor)
        return f"Removed: {wanted}."


class Export(ConfirmedAction[User]):
    """Its second step is the download itself."""

    name, label, button, icon = "export", "Export", "Download", "download"
    permission = "bedrock_chat.export_user"

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "You download a zip with all that is stored of this person: conversations, files, bots and costs."
        yield "It is made while it is sent, so the download begins at once and may take a while. No copy stays here."
        yield "The audit records that you have taken it."

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> StreamingHttpResponse:
        pieces = exporting.zipped(row.pk, actor=actor)
        name = row.pk.replace(":", "-")
        headers = {"Content-Disposition": f'attachment; filename="export-{name}.zip"', "Cache-Control": "no-store"}
        return StreamingHttpResponse(pieces, content_type="application/zip", headers=headers)


class Erase(ConfirmedAction[User]):
    name, label, button, icon = "erase", "Erase", "Erase for ever", "person_remove"
    permission = ERASE
    is_dangerous = True

    class form_class(ConsoleForm):  # noqa: N801  it is this action's
        user_id = forms.CharField(label="The person's id", max_length=128, help_text="Type it, to be sure.")

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "They are suspended now, and a job deletes everything of theirs: conversations, files, bots and APIs."
        yield "It cannot be undone. Bots that others use go too: transfer them first where they are needed."
        yield "What was spent stays in the ledger, under an id that names nobody."
        yield "If they sign in again later, they are a new person."

    def form(self, row: User | None, data: Any = None) -> ConsoleForm:
        form = super().form(row, data)

        def check(text: str) -> None:
            if row is None or text != row.pk:
                raise forms.ValidationError("This is not the id of this person.")

        form.fields["user_id"].validators.append(check)
        if row is not None:
            form.fields["user_id"].help_text = f"Type {row.pk}, to be sure."
        return form

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        erasing.ask(row.pk, actor=actor)
        return f"{row.pk} is being erased. The list of erasures tells how far it is."


class ReasonForm(ConsoleForm):
    reason = forms.CharField(max_length=LONGEST_REASON, help_text="Whoever tries to erase them reads it.")


class PutOnHold(ConfirmedAction[User]):
    name, label, icon = "hold", "Hold", "lock"
    permission = "bedrock_chat.change_hold"
    form_class = ReasonForm

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "Nothing of theirs is pruned, and nobody can erase them, until the hold is released."
        yield "They may go on deleting what is theirs."

    def initial(self, row: User) -> dict[str, Any]:
        hold = holds.find(HoldKind.PERSON, row.pk)
        return {"reason": hold.reason if hold else ""}

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        holds.hold_person(row.pk, reason=values["reason"], actor=actor)
        return f"{row} is on hold."


class Release(ConfirmedAction[User]):
    name, label, icon = "release", "Release the hold", "lock_open"
    permission = "bedrock_chat.change_hold"

    def is_offered(self, row: User) -> bool:
        return holds.find(HoldKind.PERSON, row.pk) is not None

    def consequences(self, row: User | None) -> Iterable[str]:
        yield "What policies prune is pruned again, and they can be erased."

    def perform(self, row: User, values: Mapping[str, Any], *, actor: Caller) -> str:
        holds.release_person(row.pk, actor=actor)
        return f"{row} is on hold no more."


def budgets_of(user_id: str) -> Any:
    return setting.listed().filter(payer_kind=PayerKind.USER, payer_id=user_id)


@admin.register(User)
class UserAdmin(ConfirmingPage, ReadOnlyAdmin):
    """Everybody who has signed in here, and the operators."""

    confirmed = [
        *(Suspend(), Restore(), SetBudget(), RemoveBudget(), PutOnHold(), Release()),
        *(MakeOperator(), SetRole(), Export(), Erase()),
    ]
    list_display = [
        *("username", "email", "id", "shown_groups", "shown_state", "cost"),
        *("seen_at", "is_staff", "created_at"),
    ]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["id", "username", "email", "login"]
    search_help_text = "A name, an address, or an id."
    ordering = ["-created_at"]
    empty_text = "Whoever signs in is listed here."
    fieldsets = [
        (
            None,
            {
                "fields": [
                    *("id", "username", "email", "all_groups", "shown_state", "shown_hold"),
                    *("seen_at", "created_at"),
                ]
            },
        ),
        ("Money", {"fields": ["cost", "shown_budgets"]}),
        ("Operator", {"fields": ["is_staff", "login", "shown_role", "last_login"]}),
    ]
    readonly_fields = ["all_groups", "shown_state", "shown_hold", "cost", "shown_budgets", "shown_role"]

    def complete_page(self, request: HttpRequest, rows: Sequence[User]) -> None:
        """Adds what the people of one page have cost, who of them is being erased and who is on hold, in a few queries
        for all of them.
        """
        keys = [row.pk for row in rows]
        figures = reading.usage(ranking.span_of(None, days=COST_DAYS), by=Dimension.USER, values=keys)
        erased = set(Erasure.objects.filter(pk__in=keys, finished_at__isnull=True).values_list("pk", flat=True))
        on_hold = Hold.objects.filter(kind=HoldKind.PERSON, target_id__in=keys)
        reasons = dict(on_hold.values_list("target_id", "reason"))
        for row in rows:
            spent = figures.get(row.pk)
            row.spent = spent  # type: ignore[attr-defined]  # for `cost`
            row.is_being_erased = row.pk in erased  # type: ignore[attr-defined]
            row.hold_reason = reasons.get(row.pk)  # type: ignore[attr-defined]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> User | None:
        user: User | None = super().get_object(request, object_id, from_field)
        if user is not None:
            self.complete_page(request, [user])
        return user

    @admin.display(description="groups")
    def shown_groups(self, row: User) -> str:
        names = ", ".join(row.token_groups[:SHOWN_GROUPS])
        more = len(row.token_groups) - SHOWN_GROUPS
        return f"{names} and {more} more" if more > 0 else names

    @admin.display(description="groups of the last token")
    def all_groups(self, row: User) -> str:
        return ", ".join(row.token_groups) or "none"

    @admin.display(description="state", ordering="is_active")
    def shown_state(self, row: User) -> str:
        if row.is_being_erased:  # type: ignore[attr-defined]
            return "being erased"
        suffix = ", on hold" if row.hold_reason else ""  # type: ignore[attr-defined]
        return ("active" if row.is_active else "suspended") + suffix

    @admin.display(description="on hold, because")
    def shown_hold(self, row: User) -> str:
        reason: str | None = row.hold_reason  # type: ignore[attr-defined]
        return reason or "not on hold"

    @admin.display(description=f"cost of {COST_DAYS} days", empty_value="none")
    def cost(self, row: User) -> str | None:
        spent = row.spent  # type: ignore[attr-defined]  # from `complete_page`
        if spent is None:
            return None
        unpriced = f", {spent.unpriced:,} calls unpriced" if spent.unpriced else ""
        return f"{spent.price:,.4f} USD{unpriced}"

    @admin.display(description="role")
    def shown_role(self, row: User) -> str:
        if not row.is_staff:
            return "no operator"
        return "may do everything" if row.is_superuser else roles.role_of(row) or "none"

    @admin.display(description="budgets")
    def shown_budgets(self, row: User) -> str:
        budgets = list(budgets_of(row.pk))
        counters = setting.running_counters(budget.pk for budget in budgets)
        lines = [
            (
                f"{amounts.sentence(budget.allowance, budget.unit)} a {budget.period}, "
                f"{'hard' if budget.is_hard else 'soft'}: "
                f"{amounts.sentence(counters[budget.pk].used if budget.pk in counters else 0, budget.unit)} used",
            )
            for budget in budgets
        ]
        return format_html_join("", "<p>{}</p>", lines) if lines else "none of their own"


class CallOff(ConfirmedAction[Erasure]):
    name, label, icon = "call-off", "Call off", "undo"
    permission = ERASE
    is_dangerous = True

    def is_offered(self, row: Erasure) -> bool:
        return row.finished_at is None

    def consequences(self, row: Erasure | None) -> Iterable[str]:
        yield "What is deleted already stays deleted. The rest is kept."
        yield "They are let in again, unless they were suspended before the erasure was asked for."

    def perform(self, row: Erasure, values: Mapping[str, Any], *, actor: Caller) -> str:
        erasing.call_off(row.pk, actor=actor)
        return f"{row.pk} is not erased any more."


@admin.register(Erasure)
class ErasureAdmin(ConfirmingPage, ReadOnlyAdmin):
    """Those who are being erased, and how far it is. A row goes some days after the end."""

    confirmed = [CallOff()]
    list_display = ["user_id", "shown_state", "last_step", "asked_at", "finished_at", "asked_by"]
    ordering = ["-asked_at"]
    empty_text = "When somebody is erased from their page, this tells how far it is."
    fields = ["user_id", "shown_state", "refusal", "shown_steps", "asked_by", "asked_at", "begun_at", "finished_at"]
    readonly_fields = ["shown_state", "shown_steps"]

    @admin.display(description="state")
    def shown_state(self, row: Erasure) -> str:
        if row.finished_at:
            return "stopped" if row.refusal else "done"
        return f"running, {len(row.steps)} steps done" if row.begun_at else "waits for a worker"

    @admin.display(description="last step", empty_value="")
    def last_step(self, row: Erasure) -> str:
        return row.refusal or (row.steps[-1] if row.steps else "")

    @admin.display(description="steps", empty_value="none yet")
    def shown_steps(self, row: Erasure) -> str | None:
        return format_html_join("", "<p>{}</p>", [(step,) for step in row.steps]) if row.steps else None

"""Console pages of budgets: looked at, set, changed and removed."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from bedrock_chat.console import roles
from bedrock_chat.console.confirming import ConfirmedAction, ConfirmingPage, ConsoleForm, theme
from bedrock_chat.console.site import ReadOnlyAdmin, ReadOnlyRows
from bedrock_chat.database.text import is_storable
from bedrock_chat.identity.caller import Caller, operator_of
from bedrock_chat.ledger.budgets import amounts, setting
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, PayerKind, Period, Unit
from bedrock_chat.ledger.budgets.setting import Wanted

roles.allow(roles.Role.VIEWER, "bedrock_chat.view_budget", "bedrock_chat.view_budgetcounter")
roles.allow(roles.Role.SUPPORT, "bedrock_chat.change_budget")

AMOUNT_HELP = "Such as 20 or 0.50 USD, or 100000 tokens."


class AmountField(forms.CharField):
    """How much may be spent, as an operator writes it."""

    def __init__(self) -> None:
        super().__init__(label="Amount", max_length=40, help_text=AMOUNT_HELP)


def parsed(text: str, unit: str) -> int:
    """The allowance that an operator has written. Raises ValidationError."""
    try:
        return amounts.parsed(text.strip(), unit)
    except ValueError as error:
        raise forms.ValidationError(f"The amount is {error}.") from None


def add_allowance(form: forms.BaseForm, values: dict[str, Any]) -> None:
    """Adds the allowance to a form's values, from the amount and the unit, or an error to the amount."""
    if "amount" in values and "unit" in values:
        try:
            values["allowance"] = parsed(values["amount"], values["unit"])
        except forms.ValidationError as error:
            form.add_error("amount", error)


class BudgetForm(ConsoleForm):
    """A budget of a payer that the page knows."""

    amount = AmountField()
    unit = forms.ChoiceField(choices=Unit.choices)
    period = forms.ChoiceField(choices=Period.choices, initial=Period.MONTH, label="Each")
    is_hard = forms.BooleanField(
        required=False, initial=True, label="Hard", help_text="It refuses what comes after. Otherwise it is only told."
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        add_allowance(self, values)
        return values


def wanted_of(values: Mapping[str, Any], payer_kind: PayerKind, payer_id: str) -> Wanted:
    return Wanted(payer_kind, payer_id, Unit(values["unit"]), Period(values["period"]), values["is_hard"])


def of_budget(row: Budget) -> Wanted:
    """Which budget a row is."""
    return Wanted(PayerKind(row.payer_kind), row.payer_id, Unit(row.unit), Period(row.period), row.is_hard)


class AmountForm(ConsoleForm):
    amount = AmountField()


def _check(unit: str, text: str) -> None:
    parsed(text, unit)


class ChangeAmount(ConfirmedAction[Budget]):
    name, label, icon = "change-amount", "Change the amount", "edit"
    permission = "bedrock_chat.change_budget"
    form_class = AmountForm

    def consequences(self, row: Budget | None) -> Iterable[str]:
        yield "It holds at once, for the period that runs too. What was used stays used."

    def initial(self, row: Budget) -> dict[str, Any]:
        return {"amount": amounts.plain(row.allowance, row.unit)}

    def perform(self, row: Budget, values: Mapping[str, Any], *, actor: Caller) -> str:
        budget = setting.set_budget(of_budget(row), parsed(values["amount"], row.unit), actor=actor)
        return f"The budget is {amounts.sentence(budget.allowance, budget.unit)} a {budget.period} now."

    def form(self, row: Budget | None, data: Any = None) -> ConsoleForm:
        form = super().form(row, data)
        if row is not None:
            form.fields["amount"].validators.append(partial(_check, row.unit))
        return form


class Remove(ConfirmedAction[Budget]):
    name, label, button, icon = "remove", "Remove", "Remove the budget", "delete"
    permission = "bedrock_chat.change_budget"
    is_for_many = is_dangerous = True

    def consequences(self, row: Budget | None) -> Iterable[str]:
        yield "Nothing bounds this spending any more, unless another budget does."
        yield "What was counted for it is deleted. The ledger keeps every call."

    def perform(self, row: Budget, values: Mapping[str, Any], *, actor: Caller) -> str:
        setting.remove_budget(of_budget(row), actor=actor)
        return f"Removed: {of_budget(row)}."


class CountersOfBudget(ReadOnlyRows):
    """What was used of a budget in its latest periods."""

    model = BudgetCounter
    fields = ["label", "shown_used", "shown_reserved", "shown_difference", "alerted_at", "compared_at"]
    readonly_fields = ["shown_used", "shown_reserved", "shown_difference"]
    ordering = ["-ends_at"]

    @admin.display(description="used")
    def shown_used(self, row: BudgetCounter) -> str:
        return amounts.sentence(row.used, row.unit)

    @admin.display(description="reserved")
    def shown_reserved(self, row: BudgetCounter) -> str:
        return amounts.sentence(row.reserved, row.unit)

    @admin.display(description="the ledger has more")
    def shown_difference(self, row: BudgetCounter) -> str:
        return amounts.sentence(row.difference, row.unit)


class NewBudgetForm(forms.ModelForm):
    """A budget of anybody. One that is there gets the new amount."""

    amount = AmountField()

    class Meta:
        model = Budget
        fields = ["payer_kind", "payer_id", "unit", "period", "is_hard"]
        help_texts = {"payer_id": "The id of a person, a bot or a key, or the name of a group."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        theme(self.fields["amount"])

    def validate_unique(self) -> None:
        """Asks nothing: to set a budget that is there is to change it."""

    def validate_constraints(self) -> None:
        """Asks nothing: the amount is checked below, and the rest by the fields."""

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not is_storable(values.get("payer_id", "")):
            self.add_error("payer_id", "This id cannot be stored.")
        add_allowance(self, values)
        return values


@admin.register(Budget)
class BudgetAdmin(ConfirmingPage, ReadOnlyAdmin):
    """Budgets. `manage.py set_budget` sets them too."""

    confirmed = [ChangeAmount(), Remove()]
    list_display = ["payer_kind", "payer_id", "shown_allowance", "period", "is_hard", "used_now", "changed_at"]
    list_filter = ["payer_kind", "period", "unit", "is_hard"]
    search_fields = ["=payer_id"]
    ordering = ["payer_kind", "payer_id", "pk"]
    empty_text = "What people, groups, bots and keys may spend stands here. Without a budget nobody is bounded."
    fields = ["payer_kind", "payer_id", "shown_allowance", "period", "is_hard", "created_at", "changed_at"]
    readonly_fields = ["shown_allowance"]
    inlines = [CountersOfBudget]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("bedrock_chat.change_budget")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs |= {"form": NewBudgetForm, "fields": None}
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["payer_kind", "payer_id", "amount", "unit", "period", "is_hard"] if obj is None else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else self.readonly_fields

    def get_inlines(self, request: HttpRequest | None, obj: Any) -> list[type[Any]]:
        return [] if obj is None else super().get_inlines(request, obj)

    def save_model(self, request: HttpRequest, obj: Budget, form: Any, change: bool) -> None:
        """A budget is only ever set here, for it is changed and removed by actions."""
        values = form.cleaned_data
        wanted = wanted_of(values, PayerKind(values["payer_kind"]), values["payer_id"])
        obj.pk = setting.set_budget(wanted, values["allowance"], actor=operator_of(request)).pk

    def complete_page(self, request: HttpRequest, rows: Any) -> None:
        """Adds what was used of the budgets of a page in the periods that run, in one query."""
        counters = setting.running_counters(row.pk for row in rows)
        for row in rows:
            row.counter = counters.get(row.pk)

    @admin.display(description="amount")
    def shown_allowance(self, row: Budget) -> str:
        return amounts.sentence(row.allowance, row.unit)

    @admin.display(description="used now")
    def used_now(self, row: Budget) -> str:
        counter: BudgetCounter | None = row.counter  # type: ignore[attr-defined]  # from `complete_page`
        used = counter.used if counter else 0
        percent = f" ({Decimal(100 * used) / row.allowance:.0f} %)" if row.allowance else ""
        return f"{amounts.sentence(used, row.unit)}{percent}"

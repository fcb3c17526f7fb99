"""The console page of models: who may use them, what they cost, whether they answer."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse

from bedrock_chat.bedrock import catalog, offering
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.overrides.models import PRICES, LastFault, ModelOverride
from bedrock_chat.console import lookups, roles, writing
from bedrock_chat.console.confirming import ConfirmedAction, ConfirmingPage, ConsoleForm, ShownOnce
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.identity.caller import Caller
from bedrock_chat.model_operation import changing, trying
from bedrock_chat.model_operation.changing import MOST_GROUPS, Wanted
from bedrock_chat.wire.errors import Conflict, NotFound

roles.allow(roles.Role.VIEWER, "bedrock_chat.view_modeloverride")
roles.allow(roles.Role.ADMIN, "bedrock_chat.change_modeloverride", "bedrock_chat.test_modeloverride")


def _price(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=0,
        max_digits=16,
        decimal_places=10,
        help_text="USD per 1,000 tokens. Empty: the price of MODEL_PRICES, else the list price.",
    )


class ModelForm(ConsoleForm):
    base = forms.CharField(widget=forms.HiddenInput)
    is_enabled = forms.BooleanField(
        label="Enabled", required=False, help_text="Otherwise nobody may use it, whatever bots and settings say."
    )
    is_default = forms.BooleanField(
        label="Default", required=False, help_text="New conversations begin with it. Another default loses its place."
    )
    groups = forms.CharField(
        label="Allowed groups",
        required=False,
        max_length=MOST_GROUPS * 257,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One name a line. Empty: everybody. With groups, published APIs cannot use it: keys are in none.",
    )
    input_price = _price("Price of input")
    output_price = _price("Price of output")
    cache_read_price = _price("Price of cache reads")
    cache_write_price = _price("Price of cache writes")

    def clean_groups(self) -> list[str]:
        lines: str = self.cleaned_data["groups"]
        return [line.strip() for line in lines.splitlines() if line.strip()]


class Change(ConfirmedAction[ModelOverride]):
    name, label, button, icon = "edit", "Change", "Save", "edit"
    permission = "bedrock_chat.change_modeloverride"
    form_class = ModelForm

    def consequences(self, row: ModelOverride | None) -> Iterable[str]:
        yield "Every process holds to it within five seconds. An answer that is being written now is finished."
        yield "It narrows what GLOBAL_AVAILABLE_MODELS offers, and adds nothing to it."
        yield "A price holds for calls from now on. What the ledger has stays."

    def initial(self, row: ModelOverride) -> dict[str, Any]:
        shown = {name: getattr(row, name) for name in changing.COLUMNS}
        return {**shown, "groups": "\n".join(row.groups), "base": changing.revision(row)}

    def perform(self, row: ModelOverride, values: Mapping[str, Any], *, actor: Caller) -> str:
        wanted = {name: values[name] for name in changing.COLUMNS}
        changing.change(row.pk, Wanted(**wanted), base=values["base"], actor=actor)
        return f"{row.pk} is saved."


class Test(ConfirmedAction[ModelOverride]):
    name, label, button, icon = "test", "Test", "Call it once", "play_arrow"
    permission = "bedrock_chat.test_modeloverride"

    def consequences(self, row: ModelOverride | None) -> Iterable[str]:
        yield f"The model is asked once: “{trying.QUESTION}”"
        yield f"You wait up to {trying.LONGEST_WAIT:.0f} seconds. The call is in the ledger, and you pay for it."

    def perform(self, row: ModelOverride, values: Mapping[str, Any], *, actor: Caller) -> ShownOnce:
        trial = trying.try_out(row.pk, actor=actor)
        if not trial.succeeded:
            raise Conflict(f"The model did not answer ({trial.fault}). {trial.sentence}")
        cost = "its price is not known" if trial.price is None else f"{trial.price:f} USD"
        tokens = f"{trial.input_tokens:,} tokens in, {trial.output_tokens:,} out"
        return ShownOnce(
            f"It answered in {trial.latency_ms:,} ms: {tokens}, {cost}.", "Its answer", trial.answer, self.permission
        )


@admin.register(ModelOverride)
class ModelAdmin(ConfirmingPage, ReadOnlyAdmin):
    """All models of the catalogue; a row of the table has one only where operators have set something."""

    confirmed = [Change(), Test()]
    open_columns = frozenset({"groups"})  # names of groups
    fields = [
        *("key", "shown_name", "shown_state", "shown_groups", "shown_prices", "shown_source"),
        *("shown_target", "shown_fault"),
    ]
    readonly_fields = [
        *("shown_name", "shown_state", "shown_groups", "shown_prices", "shown_source"),
        *("shown_target", "shown_fault"),
    ]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> ModelOverride | None:
        """A model of the catalogue, with its row or an unsaved one."""
        if object_id not in catalog.MODELS:
            return None
        return _completed(changing.of(object_id), LastFault.objects.filter(pk=object_id).first())

    def _links(self, request: HttpRequest, object_id: str | None) -> list[dict[str, Any]]:
        """Also where the model has no row."""
        key = unquote(object_id or "")
        return [
            {
                "label": action.label,
                "icon": action.icon,
                "link": reverse(f"admin:{self._url_name(action)}", args=(quote(key),)),
            }
            for action in self.confirmed_actions()
            if key in catalog.MODELS and self.may_do(request, action)
        ]

    def _way_back(self, request: HttpRequest, row: Any) -> str:
        return reverse("admin:bedrock_chat_modeloverride_change", args=(quote(row.pk),))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        """All models, in two queries."""
        lookups.take_only(request, ())
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            raise NotFound
        rows, faults = ModelOverride.objects.in_bulk(), LastFault.objects.in_bulk()
        models = [
            _completed(rows.get(key) or ModelOverride(pk=key), faults.get(key))
            for key in sorted(catalog.MODELS, key=_offered_first)
        ]
        shown = [
            {
                "link": reverse("admin:bedrock_chat_modeloverride_change", args=(quote(row.pk),)),
                "key": row.pk,
                "name": self.shown_name(row),
                "state": self.shown_state(row),
                "groups": self.shown_groups(row),
                "input": _shown(offering.price_row(_model(row), offering.route(_model(row))).input),
                "output": _shown(offering.price_row(_model(row), offering.route(_model(row))).output),
                "source": self.shown_source(row),
                "fault": self.shown_fault(row),
            }
            for row in models
        ]
        context = {**self.admin_site.each_context(request), "title": "Models", "opts": self.opts, "models": shown}
        return TemplateResponse(request, "bedrock_chat/console_models.html", context)

    @admin.display(description="name")
    def shown_name(self, row: ModelOverride) -> str:
        return _model(row).display_name

    @admin.display(description="state")
    def shown_state(self, row: ModelOverride) -> str:
        if not offering.is_listed(_model(row)):
            return "not in GLOBAL_AVAILABLE_MODELS"
        if not row.is_enabled:
            return "disabled"
        is_default = row.is_default or row.default_key == row.pk  # type: ignore[attr-defined]
        return "enabled, the default" if is_default else "enabled"

    @admin.display(description="allowed groups")
    def shown_groups(self, row: ModelOverride) -> str:
        return ", ".join(row.groups) or "everybody"

    @admin.display(description="price of input, output, cache read, cache write (USD per 1,000 tokens)")
    def shown_prices(self, row: ModelOverride) -> str:
        prices = offering.price_row(_model(row), offering.route(_model(row)))
        amounts = (prices.input, prices.output, prices.cache_read, prices.cache_write)
        return ", ".join(map(_shown, amounts))

    @admin.display(description="who says so")
    def shown_source(self, row: ModelOverride) -> str:
        if any(getattr(row, name) is not None for name in PRICES):
            return "an operator"
        return "MODEL_PRICES" if row.pk in settings.MODEL_PRICES else f"list prices of {_model(row).priced_at}"

    @admin.display(description="called as")
    def shown_target(self, row: ModelOverride) -> str:
        target = offering.route(_model(row))
        return f"{target.model_id} in {target.region}"

    @admin.display(description="last error", empty_value="none")
    def shown_fault(self, row: ModelOverride) -> str | None:
        fault: LastFault | None = row.fault  # type: ignore[attr-defined]
        return None if fault is None else f"{fault.code}, {writing.moment(fault.at)}"


def _completed(row: ModelOverride, fault: LastFault | None) -> ModelOverride:
    row.fault = fault  # type: ignore[attr-defined]  # for the columns
    row.default_key = offering.default_key()  # type: ignore[attr-defined]
    return row


def _shown(price: Decimal | None) -> str:
    return "unknown" if price is None else f"{price.normalize():f}"


def _model(row: ModelOverride) -> Model:
    return catalog.MODELS[row.pk]


def _offered_first(key: str) -> tuple[bool, bool, str]:
    """The default model, then what the environment offers, then the rest."""
    model = catalog.MODELS[key]
    return (key != offering.default_key(), not offering.is_listed(model), model.display_name)

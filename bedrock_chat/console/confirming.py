"""Actions that are confirmed: a page with a form and what will happen, and then the write.

An action is a class of the app that owns its write. Its page has it in `confirmed`; an app to the right offers one to
the page of an app to the left with `offer`. It is reached by `…/<key>/<name>/` from the row's page, and where it is
`for_many` also from the list, for all rows that were selected. Both steps check the permission and the token against
forgery, whichever way the request came. GET changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from rest_framework.exceptions import ValidationError
from unfold import widgets

from bedrock_chat.console import lookups
from bedrock_chat.console.site import ConsolePage
from bedrock_chat.identity.caller import Caller, operator_of
from bedrock_chat.wire.errors import ApiError, BadRequest, Forbidden, NotFound, as_api_error

Row = TypeVar("Row", bound=Model)

MOST_AT_ONCE: Final = 100
"""Rows of one action from a list. Each is a write of its own, and somebody waits for all of them."""
MOST_REFUSALS: Final = 5
"""Sentences about rows that an action refused; of the others their number is shown."""
CONFIRMED: Final = "confirmed"
"""The field of the second step's form."""

_THEMED: Final[Mapping[type[forms.Widget], Callable[..., forms.Widget]]] = {
    forms.TextInput: widgets.UnfoldAdminTextInputWidget,
    forms.NumberInput: widgets.UnfoldAdminTextInputWidget,
    forms.URLInput: widgets.UnfoldAdminTextInputWidget,
    forms.PasswordInput: widgets.UnfoldAdminPasswordWidget,
    forms.Textarea: widgets.UnfoldAdminTextareaWidget,
    forms.Select: widgets.UnfoldAdminSelectWidget,
    forms.NullBooleanSelect: widgets.UnfoldAdminNullBooleanSelectWidget,
    forms.CheckboxInput: widgets.UnfoldBooleanWidget,
    forms.CheckboxSelectMultiple: widgets.UnfoldAdminCheckboxSelectMultipleWidget,
}
"""Django's widgets, and what looks like the rest of the console."""


class ConsoleForm(forms.Form):
    """A form whose fields look like those of the console's other pages."""

    sections: Sequence[tuple[str, Sequence[str]]] = ()
    """Headings and the names of the fields below them. Fields that no section names come first, without a heading."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            theme(field)

    def by_section(self) -> Iterable[tuple[str, list[forms.BoundField]]]:
        """For the template: each heading with its fields."""
        named = {name for _, names in self.sections for name in names}
        for heading, names in (("", [name for name in self.fields if name not in named]), *self.sections):
            yield heading, [self[name] for name in names if name in self.fields]


def theme(field: forms.Field) -> None:
    """Gives a field the widget that looks like the rest of the console."""
    widget = field.widget
    themed = _THEMED.get(type(widget))
    if themed is None:
        return
    field.widget = themed(attrs=dict(widget.attrs))
    field.widget.is_required = field.required
    for name in ("input_type", "choices"):
        if hasattr(widget, name):
            setattr(field.widget, name, getattr(widget, name))


@dataclass(frozen=True, slots=True)
class Table:
    """Figures of a preview: a heading, the names of the columns, and the rows as they are shown."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would do, shown before it is confirmed."""

    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """What an action has made and only this one answer shows, such as the value of a key.

    The value is shown to operators with the permission alone. Others read the message.
    """

    message: str
    label: str
    value: str
    permission: str


class ConfirmedAction(Generic[Row]):
    """One action on a row of a page.

    `permission` is asked for on both steps. Of an action that `is_previewed`, the form's first submission shows
    `preview`, and the next one is the write.
    """

    name: str
    label: str
    permission: str
    button: str = ""
    icon: str = ""
    is_dangerous: bool = False
    is_previewed: bool = False
    is_for_many: bool = False
    form_class: type[ConsoleForm] = ConsoleForm

    def is_offered(self, row: Row) -> bool:
        """Whether the row's page leads to this action. What it refuses is `perform`'s business."""
        return True

    def permission_on(self, row: Row) -> str:
        """What it takes to do this to a row, where some rows take more than the others."""
        return self.permission

    def consequences(self, row: Row | None) -> Iterable[str]:
        """What will happen, in plain words. `None`: it is about several rows."""
        return ()

    def form(self, row: Row | None, data: Any = None) -> ConsoleForm:
        """The form, for a row or for several, unbound without `data`."""
        return self.form_class(data, initial=None if row is None else self.initial(row))

    def initial(self, row: Row) -> dict[str, Any]:
        """What the fields of the form begin with."""
        return {}

    def values(self, form: ConsoleForm) -> Mapping[str, Any]:
        """What a valid form says, for `preview` and `perform`."""
        return form.cleaned_data

    def preview(self, row: Row, values: Mapping[str, Any], *, actor: Caller) -> Preview:
        """What it would do. Raises ApiError."""
        return Preview()

    def perform(self, row: Row, values: Mapping[str, Any], *, actor: Caller) -> str | ShownOnce | HttpResponseBase:
        """The write: one call of a domain function. Returns what is said of it afterwards, or a download.

        Raises ApiError.
        """
        raise NotImplementedError


Action = ConfirmedAction[Any]

_offered: dict[type[Model], list[Action]] = {}


def offer(model: type[Model], action: Action) -> None:
    """Adds an action to the page of a model. Apps to the right of the model's app call it in their `admin` module."""
    _offered.setdefault(model, []).append(action)


class ConfirmingPage(ConsolePage):
    """A page with confirmed actions."""

    confirmed: Sequence[Action] = ()
    change_form_outer_before_template = "bedrock_chat/console_actions.html"

    def confirmed_actions(self) -> list[Action]:
        """The page's own actions, and those that other apps offer."""
        return [*self.confirmed, *_offered.get(self.model, ())]

    def may_do(self, request: HttpRequest, action: Action) -> bool:
        """Whether the operator sees the page and may do this."""
        return self.has_view_permission(request) and request.user.has_perm(action.permission)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{action.name}/",
                self.admin_site.admin_view(partial(self.confirm_view, action=action)),
                name=self._url_name(action),
            )
            for action in self.confirmed_actions()
        ]
        return [*own, *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        for action in self.confirmed_actions():
            if action.is_for_many and self.may_do(request, action):
                actions[action.name] = (partial(_confirm_rows, action), action.name, action.label)
        return actions

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponseBase:
        context = {**(extra_context or {}), "offered_actions": self._links(request, object_id)}
        response: HttpResponseBase = super().changeform_view(request, object_id, form_url, context)
        return response

    def confirm_view(self, request: HttpRequest, object_id: str, *, action: Action) -> HttpResponseBase:
        """Both steps of an action on one row."""
        lookups.take_only(request, ())
        if not self.may_do(request, action):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise NotFound
        if not request.user.has_perm(action.permission_on(row)):
            raise PermissionDenied
        if request.method != "POST":
            return self._page(request, action, action.form(row), row=row)
        form = action.form(row, request.POST)
        if not form.is_valid():
            return self._page(request, action, form, row=row, status=HTTPStatus.BAD_REQUEST)
        try:
            if action.is_previewed and CONFIRMED not in request.POST:
                preview = action.preview(row, action.values(form), actor=operator_of(request))
                return self._page(request, action, _hidden(form), row=row, preview=preview)
            outcome = action.perform(row, action.values(form), actor=operator_of(request))
        except (ApiError, ValidationError) as error:
            refusal = _refusal_of(error)
            for sentence in refusal.errors:
                form.add_error(None, sentence)
            return self._page(request, action, form, row=row, status=refusal.status_code)
        if isinstance(outcome, HttpResponseBase):
            return outcome
        if isinstance(outcome, ShownOnce):
            value = outcome.value if request.user.has_perm(outcome.permission) else ""
            return self._page(request, action, form, row=row, shown=outcome, value=value)
        messages.success(request, outcome)
        return HttpResponseRedirect(self._way_back(request, row))

    def confirm_rows(self, request: HttpRequest, rows: QuerySet[Any], action: Action) -> HttpResponseBase | None:
        """Both steps of an action on several rows. A row that refuses stops no other one."""
        if not self.may_do(request, action):
            raise PermissionDenied
        selected = list(rows[: MOST_AT_ONCE + 1])
        keys = [str(row.pk) for row in selected]
        if len(keys) > MOST_AT_ONCE:
            raise BadRequest(f"Select at most {MOST_AT_ONCE} rows.")
        is_sent = CONFIRMED in request.POST
        form = action.form(None, request.POST if is_sent else None)
        if not is_sent or not form.is_valid():
            return self._page(request, action, form, keys=keys)
        self.complete_page(request, selected)
        done, refusals = 0, []
        for key, row in zip(keys, selected, strict=True):
            try:
                if not request.user.has_perm(action.permission_on(row)):
                    raise Forbidden("You may not do this to it.")
                action.perform(row, action.values(form), actor=operator_of(request))
                done += 1
            except (ApiError, ValidationError) as error:
                refusal = _refusal_of(error)
                refusals.append(f"{key}: {refusal.detail}")
        messages.add_message(
            request, messages.WARNING if refusals else messages.SUCCESS, f"{action.label}: {done} of {len(keys)} done."
        )
        for sentence in refusals[:MOST_REFUSALS]:
            messages.error(request, sentence)
        if len(refusals) > MOST_REFUSALS:
            messages.error(request, f"{len(refusals) - MOST_REFUSALS} more were refused.")
        return None

    def _page(
        self,
        request: HttpRequest,
        action: Action,
        form: ConsoleForm,
        *,
        row: Any = None,
        keys: Sequence[str] = (),
        status: int = HTTPStatus.OK,
        **context: Any,
    ) -> TemplateResponse:
        shown = {
            **self.admin_site.each_context(request),
            "title": f"{action.label}: {row}" if row is not None else f"{action.label}: {len(keys)} rows",
            "opts": self.opts,
            "model_admin": self,  # its plain name leads back
            "action": action,
            "form": form,
            "row": row,
            "keys": keys,
            "selected_name": ACTION_CHECKBOX_NAME,
            "consequences": list(action.consequences(row)),
            "way_back": self._way_back(request, row),
            "confirmed_name": CONFIRMED,
            **context,
        }
        response = TemplateResponse(request, "bedrock_chat/console_confirming.html", shown, status=status)
        add_never_cache_headers(response)  # with `no-store`: it may show what is shown once
        return response

    def _links(self, request: HttpRequest, object_id: str | None) -> list[dict[str, Any]]:
        permitted = [action for action in self.confirmed_actions() if self.may_do(request, action)]
        if not permitted or object_id is None:
            return []
        row = ConsolePage.get_object(self, request, unquote(object_id))  # what a page adds to its row is not needed
        return [
            {
                "label": action.label,
                "icon": action.icon,
                "link": reverse(f"admin:{self._url_name(action)}", args=(quote(row.pk),)),
            }
            for action in permitted
            if row is not None and action.is_offered(row) and request.user.has_perm(action.permission_on(row))
        ]

    def _way_back(self, request: HttpRequest, row: Any) -> str:
        """The row's page, or the list where there is none (any more)."""
        names = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        if row is not None and row.pk is not None and self.model._default_manager.filter(pk=row.pk).exists():
            return reverse(f"{names}_change", args=(quote(row.pk),))
        return reverse(f"{names}_changelist")

    def _url_name(self, action: Action) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{action.name.replace('-', '_')}"


def _confirm_rows(
    action: Action, page: ConfirmingPage, request: HttpRequest, rows: QuerySet[Any]
) -> HttpResponseBase | None:
    return page.confirm_rows(request, rows, action)


def _refusal_of(error: Exception) -> ApiError:
    """What the operator is told of a refusal. Raises what is no refusal, but a fault of ours."""
    refusal = as_api_error(error)
    if refusal.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise error
    return refusal


def _hidden(form: ConsoleForm) -> ConsoleForm:
    """The same form, whose values go along unseen to the next step."""
    for field in form.fields.values():
        field.widget = field.hidden_widget()
    return form

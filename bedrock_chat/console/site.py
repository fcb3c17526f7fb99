"""The operators' console: Django's admin, themed by django-unfold, at /console/."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial, wraps
from http import HTTPStatus
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import PasswordChangeView
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ValidationError
from django.core.paginator import EmptyPage
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminOwnPasswordChangeForm
from unfold.sites import UnfoldAdminSite

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.console import lookups, navigation, private_columns, roles
from bedrock_chat.console.dashboard import home
from bedrock_chat.console.registry import extension_of
from bedrock_chat.console.signing_in import account
from bedrock_chat.console.signing_in import views as signing_in
from bedrock_chat.console.signing_in.cognito import forgetting
from bedrock_chat.environment import PICTURES
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import operator_of
from bedrock_chat.identity.models import User
from bedrock_chat.ledger import zones
from bedrock_chat.wire.errors import ApiError, BadRequest, NotFound, as_api_error

View = Callable[..., HttpResponseBase]


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """Changes the operator's own password, and ends their other sessions.

    The old one is checked as in a sign-in: limited, counted and logged.
    """

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        old_password: str = self.cleaned_data["old_password"]
        if authenticate(self.request, username=self.user.get_username(), password=old_password) is None:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return old_password

    def save(self, commit: bool = True) -> Any:
        with transaction.atomic():
            user = super().save(commit)
            session_store.end_all(user.pk, but=self.request.session)
            record(verbs.CHANGE_PASSWORD, user.pk, actor=operator_of(self.request))
        return user


class Console(UnfoldAdminSite):
    """The one admin site. Signing in takes an operator's login and password, never a token."""

    index_title = "Dashboard"
    index_template = "console/home.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        shown = {**home.context(request), **(extra_context or {})}
        response: HttpResponseBase = super().index(request, shown)
        return response

    def csv_file(self, request: HttpRequest, name: str) -> HttpResponseBase:
        return home.csv_file(request, name)

    @method_decorator(login_not_required)
    def logo(self, request: HttpRequest) -> HttpResponseBase:
        """The operator's picture, which the page of the sign-in shows, too. Raises NotFound where there is none."""
        file = settings.CONSOLE_LOGO
        if file is None:
            raise NotFound
        policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        headers = {"Content-Security-Policy": policy, "Cache-Control": "max-age=3600"}
        return HttpResponse(file.read_bytes(), content_type=PICTURES[file.suffix.lower()], headers=headers)

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        return navigation.sidebar(request, self._registry.values())

    @method_decorator([never_cache, login_not_required])
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        return self._refusing_by_pages(self._sign_in)(request, extra_context)

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether an operator is signed in, with a second factor where the settings ask for one.

        Who came by Cognito has no password here: the second factor of such an account is the pool's.
        """
        if not super().has_permission(request):
            return False
        assert isinstance(request.user, User)
        is_needed = settings.CONSOLE_REQUIRE_SECOND_FACTOR and request.user.has_usable_password()
        return not is_needed or bool(request.session.get(session_store.SECOND_FACTOR))

    def _sign_in(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
        title = {"title": "Log in", "app_path": request.get_full_path()}
        return self._own_view(signing_in.SignInView, **title, **(extra_context or {}))(request)

    def _own_view(self, view: type[Any], **context: Any) -> View:
        """A view of ours, with what every page of the console shows."""

        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            request.current_app = self.name
            shown = {**self.each_context(request), **context}
            initial = {"extra_context": shown} if hasattr(view, "extra_context") else {}
            response: HttpResponseBase = view.as_view(**initial)(request, *args, **kwargs)
            return response

        return answer

    def _open_view(self, view: type[Any], **context: Any) -> View:
        """A view of ours for who is not signed in yet. Forged forms are refused, and caches keep nothing of it."""
        return never_cache(csrf_protect(login_not_required(self._refusing_by_pages(self._own_view(view, **context)))))

    def _account_view(self, view: type[Any], **context: Any) -> View:
        return self.admin_view(self._own_view(view, **context))

    def admin_view(self, view: View, cacheable: bool = False) -> View:
        wrapped: View = super().admin_view(self._refusing_by_pages(view), cacheable)
        return wrapped

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        request.current_app = self.name
        view = PasswordChangeView.as_view(
            form_class=partial(OwnPasswordForm, request),
            success_url=reverse("admin:password_change_done", current_app=self.name),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        lookups.take_only(request, {"s", "extended", "page"})
        lookups.check_search(request.GET.get("s", ""))
        lookups.check_page_number(request.GET.get("page", "1"))
        try:
            response: HttpResponseBase = super().search(request, extra_context)
        except EmptyPage:
            raise BadRequest("There are fewer pages.") from None
        return response

    def autocomplete_view(self, request: HttpRequest) -> HttpResponseBase:
        """Completes the fields alone that a page of ours has. Django's completes every foreign key of every model."""
        lookups.take_only(request, {"term", "page", "app_label", "model_name", "field_name"})
        lookups.check_search(request.GET.get("term", ""))
        lookups.check_page_number(request.GET.get("page", "1"))
        field = tuple(request.GET.get(name, "") for name in ("app_label", "model_name", "field_name"))
        if field not in set(self._completed_fields()):
            raise NotFound
        response: HttpResponseBase = super().autocomplete_view(request)
        return response

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Without Django's view that leads to any row's own page: it tells of every table which rows there are."""
        asking, enrolling = {"title": "Second factor"}, {"title": "Enrol a second factor"}
        own = [
            path("dashboard/<slug:name>.csv", self.admin_view(self.csv_file), name="dashboard_csv"),
            path("logo", self._refusing_by_pages(self.logo), name="logo"),
            path("second-factor/", self._open_view(signing_in.SecondFactorView, **asking), name="second_factor"),
            path(
                "second-factor/enrol/", self._open_view(signing_in.EnrolView, **enrolling), name="second_factor_enrol"
            ),
            path("cognito/", self._open_view(signing_in.CognitoView), name="cognito"),
            path("cognito/return/", forgetting(self._open_view(signing_in.CognitoReturnView)), name="cognito_return"),
            path("account/", self._account_view(account.AccountView, title="Your account"), name="account"),
            path("account/sessions/<str:session_id>/end/", self._account_view(account.EndView), name="account_end"),
            path(
                "account/second-factor/codes/",
                self._account_view(account.NewCodesView, title="New recovery codes"),
                name="account_codes",
            ),
            path(
                "account/second-factor/remove/",
                self._account_view(account.RemoveView, title="Remove the second factor"),
                name="account_remove",
            ),
        ]
        return own + [route for route in super().get_urls() if getattr(route, "name", None) != "view_on_site"]

    def check(self, app_configs: Iterable[AppConfig] | None) -> list[CheckMessage]:
        """Django's checks; every page takes its own parameters alone, leaves private columns alone, and has viewers."""
        messages: list[CheckMessage] = super().check(app_configs)
        for page in self._registry.values():
            if not isinstance(page, ConsolePage):
                messages.append(Error(f"{page} is no ConsolePage.", obj=type(page), id="bedrock_chat.E101"))
            messages += [
                Error(f"{page} uses a private column in {use}.", obj=type(page), id="bedrock_chat.E102")
                for use in private_columns.uses(page)
            ]
            meta = page.opts
            if f"{meta.app_label}.view_{meta.model_name}" not in roles.permissions_of(roles.Role.ADMIN):
                messages.append(Error(f"No role may view {page}.", obj=type(page), id="bedrock_chat.E103"))
        return messages

    def _completed_fields(self) -> Iterator[tuple[str, str, str]]:
        for page in self._registry.values():
            for part in (page, *page.get_inlines(None, None)):
                meta = (part.model or page.model)._meta
                yield from ((meta.app_label, meta.model_name, name) for name in part.autocomplete_fields)

    def _refusing_by_pages(self, view: View) -> View:
        """The view, whose refusals are pages for people. What is our own fault goes its usual way."""

        @wraps(view)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                # All times are in the zone of reports. The page is made before that ends.
                with timezone.override(zones.zone()):
                    response = view(request, *args, **kwargs)
                    render = getattr(response, "render", None)
                    return response if render is None else render()
            except Exception as error:
                refusal = as_api_error(error)
                if refusal is not error and refusal.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                return self._refusal_page(request, refusal)

        return answered

    def _refusal_page(self, request: HttpRequest, refusal: ApiError) -> HttpResponse:
        context = {
            **self.each_context(request),
            "title": HTTPStatus(refusal.status_code).phrase,
            "sentence": str(refusal.detail),
            # A list without its parameters is there; what else was refused is left for the beginning.
            "way_on": request.path if isinstance(refusal, BadRequest) else reverse("admin:index"),
        }
        return TemplateResponse(
            request,
            "bedrock_chat/console_refusal.html",
            context,
            status=refusal.status_code,
            headers=refusal.headers,
        )


class ConsolePage(ModelAdmin):
    """The pages of a model. Everything registered in the console is one.

    They take only the parameters that their own filters and links make (`lookups`), and neither show nor look into
    private columns (`private_columns`). `open_columns` names those that are private by their name or type alone.
    """

    open_columns: frozenset[str] = frozenset()
    view_on_site = False
    change_list_template = "console/list.html"
    group: navigation.Group | None = None
    """Where the list stands in the navigation; None: with the other pages of its app."""
    plain_name = ""
    """What the list is called; empty: the plural of the model's name."""
    order = 50
    is_in_navigation = True
    empty_text = ""
    """What a list without rows tells: what would be here, and what to do so that something is."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return extension_of(self.model).annotated(rows)

    def get_list_display(self, request: HttpRequest | None) -> list[Any]:
        return [*super().get_list_display(request), *extension_of(self.model).columns]

    def get_list_filter(self, request: HttpRequest | None) -> list[Any]:
        return [*super().get_list_filter(request), *extension_of(self.model).filters]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        named = {"title": navigation.plain_name(self), **(extra_context or {})}
        response: HttpResponseBase = super().changelist_view(request, named)
        return response

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[lookups.OwnParametersChangeList]:
        return lookups.OwnParametersChangeList

    def complete_page(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Adds to the rows of one page of the list what columns show of other tables: a few queries for all of them."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        lookups.take_only(request, {lookups.PRESERVED_FILTERS})
        response: HttpResponseBase = super().changeform_view(request, *args, **kwargs)
        return response

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        lookups.take_only(request, {lookups.PRESERVED_FILTERS})
        response: HttpResponseBase = super().delete_view(request, *args, **kwargs)
        return response

    def history_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        lookups.take_only(request, {lookups.PRESERVED_FILTERS, "p"})
        lookups.check_page_number(request.GET.get("p", "1"))
        response: HttpResponseBase = super().history_view(request, *args, **kwargs)
        return response

    def log_addition(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Writes nothing: Django's log keeps names of rows, which may be texts of people. The audit has the writes."""

    log_change = log_deletions = log_addition

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
        """Django's, which runs an action on the rows that were selected. Raises BadRequest for what is no key."""
        try:
            for key in request.POST.getlist("_selected_action"):
                self.opts.pk.clean(key, None)
        except ValidationError:
            raise BadRequest("What was selected is no row of this page.") from None
        response: HttpResponseBase | None = super().response_action(request, queryset)
        return response


class ReadOnlyAdmin(ConsolePage):
    """A page to look things up: nothing can be added, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyRows(TabularInline):
    """Rows of another model on the page of the one that they belong to, to be looked at alone."""

    open_columns: frozenset[str] = frozenset()
    extra = 0
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

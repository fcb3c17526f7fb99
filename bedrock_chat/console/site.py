"""The operators' console: Django's admin, themed by django-unfold, at /console/."""

from collections.abc import Callable
from functools import partial, wraps
from http import HTTPStatus
from typing import Any

from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from unfold.admin import ModelAdmin
from unfold.forms import AdminOwnPasswordChangeForm
from unfold.sites import UnfoldAdminSite

from bedrock_chat.wire.errors import ApiError, BadRequest, as_api_error

View = Callable[..., HttpResponseBase]


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """Changes the operator's own password. The old one is checked as in a sign-in: limited, counted and logged."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        old_password: str = self.cleaned_data["old_password"]
        if authenticate(self.request, username=self.user.get_username(), password=old_password) is None:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return old_password


class Console(UnfoldAdminSite):
    """The one admin site. Signing in takes an operator's login and password, never a token."""

    index_title = "Console"

    @method_decorator([never_cache, login_not_required])
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        return self._refusing_by_pages(super().login)(request, extra_context)

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

    def _refusing_by_pages(self, view: View) -> View:
        """The view, whose refusals are pages for people. What is our own fault goes its usual way."""

        @wraps(view)
        def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                return view(request, *args, **kwargs)
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


class ReadOnlyAdmin(ModelAdmin):
    """A page to look things up: nothing can be added, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

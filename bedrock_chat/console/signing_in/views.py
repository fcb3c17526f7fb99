"""The pages from the password to the console: signing in, the second factor, enrolling one."""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.generic import FormView, View
from unfold.forms import AuthenticationForm as LoginForm

from bedrock_chat.console import second_factor
from bedrock_chat.console.signing_in import cognito, pending
from bedrock_chat.console.signing_in.forms import CodeForm, FirstCodeAndPasswordForm, FirstCodeForm
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.identity.origin import origin_of
from bedrock_chat.wire.errors import BadRequest, Forbidden, NotFound


class SignInView(LoginView):
    """The login and the password. Whoever has a second factor, or must have one, is not signed in by them."""

    authentication_form = LoginForm
    template_name = "bedrock_chat/sign_in.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        link = f"{reverse('admin:cognito')}?{urlencode({'next': self.get_redirect_url()})}"
        return super().get_context_data(cognito_link=link if cognito.is_offered() else "", **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        assert isinstance(user, User)
        if second_factor.has_one(user):
            pending.remember(self.request, user, self.get_success_url())
            return HttpResponseRedirect(reverse("admin:second_factor"))
        if settings.CONSOLE_REQUIRE_SECOND_FACTOR:
            pending.remember(self.request, user, self.get_success_url())
            return HttpResponseRedirect(reverse("admin:second_factor_enrol"))
        return pending.sign_in(self.request, user, self.get_success_url())


class SecondFactorView(FormView):
    """Asks for a code, after the password. Without a password before it leads back there."""

    form_class = CodeForm
    template_name = "bedrock_chat/second_factor.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        waiting = pending.pending_of(request)
        if waiting is None:
            return HttpResponseRedirect(reverse("admin:login"))
        self.user, self.pending = waiting
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: CodeForm) -> HttpResponse:
        actor = Caller(user_id=self.user.pk, is_operator=True, origin=origin_of(self.request))
        if not second_factor.check(self.user, form.cleaned_data["code"], actor=actor):
            form.add_error("code", "This code is not right, or was used before.")
            return self.form_invalid(form)
        return pending.sign_in(self.request, self.user, self.pending.next_url, has_second_factor=True)


class EnrolView(FormView):
    """Shows a secret as a picture and as text, takes a first code, and then shows the recovery codes once.

    For who is signed in, and for who must enrol before they are.
    """

    template_name = "bedrock_chat/second_factor_enrol.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        waiting = pending.pending_of(request)
        self.next_url = reverse("admin:account")
        self.is_signed_in = request.user.is_authenticated
        if self.is_signed_in:
            assert isinstance(request.user, User)
            self.user = request.user
        elif waiting is not None:
            self.user, self.next_url = waiting[0], waiting[1].next_url
        else:
            return HttpResponseRedirect(reverse("admin:login"))
        if not self.user.has_usable_password():
            raise BadRequest("The second factor of this account is its identity provider's.")
        return super().dispatch(request, *args, **kwargs)

    def get_form(self, form_class: Any = None) -> FirstCodeForm:
        arguments = self.get_form_kwargs()
        return FirstCodeAndPasswordForm(self.request, **arguments) if self.is_signed_in else FirstCodeForm(**arguments)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        import segno  # noqa: PLC0415  few enrol, and every process would load it

        enrolment = second_factor.begin(self.user)
        picture = segno.make(enrolment.address, error="m").svg_data_uri(scale=4, border=3, light="white")
        secret = " ".join(enrolment.secret[start : start + 4] for start in range(0, len(enrolment.secret), 4))
        return super().get_context_data(picture=picture, secret=secret, is_signed_in=self.is_signed_in, **kwargs)

    def form_valid(self, form: FirstCodeForm) -> HttpResponse:
        actor = Caller(user_id=self.user.pk, is_operator=True, origin=origin_of(self.request))
        try:
            codes = second_factor.confirm(self.user, form.cleaned_data["code"], actor=actor)
        except BadRequest as error:
            form.add_error("code", str(error.detail))
            return self.form_invalid(form)
        if not self.is_signed_in:
            pending.sign_in(self.request, self.user, self.next_url, has_second_factor=True)
        else:
            self.request.session[session_store.SECOND_FACTOR] = True
        session_store.end_all(self.user.pk, but=self.request.session)
        return codes_page(self.request, codes, self.next_url, self.extra_context or {})


def codes_page(request: HttpRequest, codes: list[str], next_url: str, context: Any) -> HttpResponse:
    """The recovery codes, in this one answer."""
    shown = {**context, "title": "Recovery codes", "codes": codes, "way_on": next_url or reverse("admin:index")}
    return TemplateResponse(request, "bedrock_chat/recovery_codes.html", shown, headers={"Cache-Control": "no-store"})


class CognitoView(RedirectURLMixin, View):
    """Sends the browser to the hosted login."""

    next_page = "admin:index"

    def get(self, request: HttpRequest) -> HttpResponse:
        if not cognito.is_offered():
            raise NotFound
        return cognito.begin(self.get_success_url())


class CognitoReturnView(View):
    """Where the hosted login sends the browser back to."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if not cognito.is_offered():
            raise NotFound
        query = request.GET
        if "error" in query:  # its words are those of whoever made the link, so they are not shown
            raise Forbidden("The sign-in service did not sign you in.")
        user, next_url = cognito.complete(request, state=query.get("state", ""), code=query.get("code", ""))
        return pending.sign_in(request, user, next_url)

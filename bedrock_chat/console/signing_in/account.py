"""The page of one's own account: the password, the second factor, and where one is signed in."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.generic import FormView, TemplateView, View

from bedrock_chat.console import second_factor, sessions
from bedrock_chat.console.signing_in.forms import CodeForm
from bedrock_chat.console.signing_in.views import codes_page
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import operator_of
from bedrock_chat.identity.models import SecondFactor, User
from bedrock_chat.ledger import zones
from bedrock_chat.wire.errors import NotFound


class AccountView(TemplateView):
    template_name = "bedrock_chat/account.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = _user(self.request)
        current = session_store.row_of(self.request.session)
        return super().get_context_data(
            factor=SecondFactor.objects.filter(pk=user.pk, confirmed_at__isnull=False).first(),
            has_password=user.has_usable_password(),
            sessions=sessions.of_operator(user),
            current=current and current.pk,
            zone=zones.zone(),
            hours=settings.CONSOLE_SESSION_HOURS,
            minutes=settings.CONSOLE_IDLE_MINUTES,
            **kwargs,
        )


class EndView(View):
    """Ends one of one's own sessions. That of this browser ends here too."""

    def post(self, request: HttpRequest, session_id: str) -> HttpResponse:
        row = sessions.of_operator(_user(request)).filter(pk=session_id).first()
        if row is None:
            raise NotFound("This session has ended already.")
        sessions.end(row, actor=operator_of(request))
        messages.success(request, "The session was ended.")
        return HttpResponseRedirect(reverse("admin:account"))


class _CodeFirstView(FormView):
    """What needs a code of the operator's second factor, though they are signed in."""

    form_class = CodeForm
    template_name = "bedrock_chat/account_code.html"
    sentence = button = ""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(sentence=self.sentence, button=self.button, **kwargs)

    def form_valid(self, form: CodeForm) -> HttpResponse:
        user, actor = _user(self.request), operator_of(self.request)
        if not second_factor.check(user, form.cleaned_data["code"], actor=actor):
            form.add_error("code", "This code is not right, or was used before.")
            return self.form_invalid(form)
        return self.write(user)

    def write(self, user: User) -> HttpResponse:
        raise NotImplementedError


class NewCodesView(_CodeFirstView):
    sentence = "You get ten new recovery codes. The old ones are of no use any more."
    button = "Show new codes"

    def write(self, user: User) -> HttpResponse:
        codes = second_factor.renew_codes(user, actor=operator_of(self.request))
        return codes_page(self.request, codes, reverse("admin:account"), self.extra_context or {})


class RemoveView(_CodeFirstView):
    sentence = "Your password alone then opens the console, until you enrol another app."
    button = "Remove"

    def write(self, user: User) -> HttpResponse:
        second_factor.remove(user, actor=operator_of(self.request), but=self.request.session)
        self.request.session[session_store.SECOND_FACTOR] = False
        if settings.CONSOLE_REQUIRE_SECOND_FACTOR:
            return HttpResponseRedirect(reverse("admin:second_factor_enrol"))
        messages.success(self.request, "The second factor was removed.")
        return HttpResponseRedirect(reverse("admin:account"))


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user

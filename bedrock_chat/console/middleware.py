"""Django's middleware for people's pages, at work for the console and for static files alone.

An API request carries a token and no cookie that counts: without a session there is nothing that a forged request could
use. So the session, its user, the CSRF check and messages cost only the requests that have them, and `request.session`
and `request._messages` exist nowhere else. The classes stay Django's own, which is what Django's checks of the admin
look for.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponseForbidden
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from whitenoise.middleware import WhiteNoiseMiddleware

from bedrock_chat.identity.session_store import SessionStore
from bedrock_chat.wire.middleware import CONSOLE

PAGES = (CONSOLE, settings.STATIC_URL)
"""How the paths begin that this middleware works for."""


class _ForPages:
    """Stands before one of Django's middleware classes: any other request goes straight to what is inside of it."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path.startswith(PAGES):
            response: HttpResponseBase = self.get_response(request)
        else:
            response = super().__call__(request)  # type: ignore[misc]  # the other base class has it
        return response


class PagesStatic(_ForPages, WhiteNoiseMiddleware):
    """Serves static files."""


class PagesSession(_ForPages, SessionMiddleware):
    """`request.session`, which knows from where it is begun."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        assert isinstance(request.session, SessionStore)
        request.session.note_client(request)


class PagesAuthentication(_ForPages, AuthenticationMiddleware):
    """`request.user`, by the session."""


class PagesCsrf(_ForPages, CsrfViewMiddleware):
    """Refuses forged forms."""

    def process_view(
        self, request: HttpRequest, callback: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponseForbidden | None:
        """Django calls it for every request, whichever way the request took to its view."""
        if not request.path.startswith(PAGES):
            return None
        return super().process_view(request, callback, args, kwargs)


class PagesMessages(_ForPages, MessageMiddleware):
    """What one page has to say on the next."""

"""Operators' sessions, judged by a request's head."""

from importlib import import_module

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest

from bedrock_chat.identity.models import User
from bedrock_chat.wire.middleware import CONSOLE


def caller_of(request: HttpRequest) -> str | None:
    """One of the settings' BODY_JUDGES: the operator whose session a request to the console has."""
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not session_key or not request.path.startswith(CONSOLE):
        return None
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = auth.get_user(request)
    is_operator = isinstance(user, User) and user.is_active and user.is_staff
    return f"operator:{user.pk}" if is_operator else None

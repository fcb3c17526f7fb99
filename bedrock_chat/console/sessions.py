"""Operators' sessions: judged by a request's head, listed, and ended."""

from importlib import import_module

from django.conf import settings
from django.contrib import auth
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import OperatorSession, User
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.middleware import CONSOLE

END_SESSION = verbs.register("end session", target="user")


def caller_of(request: HttpRequest) -> str | None:
    """One of the settings' BODY_JUDGES: the operator whose session a request to the console has."""
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not session_key or not request.path.startswith(CONSOLE):
        return None
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = auth.get_user(request)
    is_operator = isinstance(user, User) and user.is_active and user.is_staff
    return f"operator:{user.pk}" if is_operator else None


def of_operator(user: User) -> QuerySet[OperatorSession]:
    """The sessions that an operator could go on with, the latest first."""
    rows: QuerySet[OperatorSession] = session_store.live(timezone.now()).filter(user=user)
    return rows.order_by("-seen_at", "pk")


def end(session: OperatorSession, *, actor: Caller) -> None:
    """Ends a session at once, which leaves an entry. Raises NotFound where it has ended already."""
    with transaction.atomic():
        if not OperatorSession.objects.filter(pk=session.pk).delete()[0]:
            raise NotFound("This session has ended already.")
        if session.user_id is not None:
            record(END_SESSION, session.user_id, actor=actor)

"""Operators whose password was right and who have not shown their second factor: nobody is signed in yet.

Who they are stands in a session that has no user, so that everything else in the product sees a stranger.
"""

from dataclasses import asdict, dataclass
from typing import Final

import structlog
from django.contrib import auth
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse

from bedrock_chat.identity import session_store
from bedrock_chat.identity.models import User

PASSWORDS: Final = "bedrock_chat.identity.passwords.OperatorBackend"
_KEY: Final = "pending"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """`next_url` is where the sign-in leads, checked already. `password_digest` is Django's for sessions: a password
    that is changed meanwhile ends this too.
    """

    user_id: str
    password_digest: str
    next_url: str


def remember(request: HttpRequest, user: User, next_url: str) -> None:
    """Notes whose password was right. The session gets another key, as with every rise in what it may."""
    request.session.cycle_key()
    request.session[_KEY] = asdict(Pending(user.pk, user.get_session_auth_hash(), next_url))


def pending_of(request: HttpRequest) -> tuple[User, Pending] | None:
    """Who is about to sign in, if they may still."""
    stored = request.session.get(_KEY)
    if stored is None:
        return None
    pending = Pending(**stored)
    user = auth.load_backend(PASSWORDS).get_user(pending.user_id)
    if not isinstance(user, User) or user.get_session_auth_hash() != pending.password_digest:
        del request.session[_KEY]
        return None
    return user, pending


def sign_in(
    request: HttpRequest, user: User, next_url: str, *, backend: str = PASSWORDS, has_second_factor: bool = False
) -> HttpResponseRedirect:
    """Signs an operator in, who has shown everything that is asked for. Sessions that have expired are deleted."""
    request.session.pop(_KEY, None)
    session_store.SessionStore.clear_expired()
    auth.login(request, user, backend=backend)
    request.session[session_store.SECOND_FACTOR] = has_second_factor
    logger.info("signed in", operator_id=user.pk, second_factor=has_second_factor)
    return HttpResponseRedirect(next_url or reverse("admin:index"))

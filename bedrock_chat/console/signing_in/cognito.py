"""Signing in by Cognito's hosted login: OpenID Connect's authorization code with PKCE, for members of the group Admin.

The browser is sent to the hosted login with a state, a nonce and a challenge, all of which a signed cookie of its own
remembers (whoever comes by costs no row), and comes back with a code. The code is exchanged for an ID token, whose
signature, issuer, audience, times, nonce and groups are checked. What else the token endpoint sends is thrown away: the
console needs no access to anything there.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache, wraps
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import structlog
import urllib3
from django.conf import settings
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from bedrock_chat.audit.recording import record
from bedrock_chat.console import operators
from bedrock_chat.console.roles import Role, role_of
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import jwks, session_store, users
from bedrock_chat.identity.caller import ADMIN, Caller
from bedrock_chat.identity.models import User
from bedrock_chat.identity.origin import origin_of
from bedrock_chat.identity.tokens import Claims, InvalidToken, TokenVerifier, TrustedIssuer, payload_of
from bedrock_chat.resilience.deadlines import within
from bedrock_chat.wire.errors import Forbidden, ServiceUnavailable

SCOPE: Final = "openid email profile"

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 10.0
"""For name, connection, TLS, request and the whole response of the token endpoint, however slowly it comes."""
LARGEST_RESPONSE: Final = 100_000  # bytes; three tokens of up to 16 KB, and some words
LONGEST_CODE: Final = 2048
COOKIE: Final = "console_visit"
VISIT_SECONDS: Final = 900
"""Time to sign in at the hosted login."""

logger = structlog.get_logger(__name__)

_pool = urllib3.PoolManager(
    timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=False, maxsize=2, block=False
)


@dataclass(frozen=True, slots=True)
class Visit:
    """What the browser remembers while its owner is at the hosted login. It is good for one return."""

    state: str
    nonce: str
    verifier: str
    next_url: str


def is_offered() -> bool:
    """Whether the settings name a hosted login."""
    return bool(settings.CONSOLE_OIDC_CLIENT_ID)


def begin(next_url: str) -> HttpResponseRedirect:
    """Sends the browser to the hosted login, with a new visit to remember."""
    visit = Visit(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48), next_url)
    query = {
        "response_type": "code",
        "client_id": settings.CONSOLE_OIDC_CLIENT_ID,
        "redirect_uri": _way_back(),
        "scope": SCOPE,
        "state": visit.state,
        "nonce": visit.nonce,
        "code_challenge": _challenge(visit.verifier),
        "code_challenge_method": "S256",
    }
    response = HttpResponseRedirect(f"{settings.CONSOLE_OIDC_DOMAIN}/oauth2/authorize?{urlencode(query)}")
    response.set_signed_cookie(
        COOKIE,
        json.dumps(asdict(visit)),
        max_age=VISIT_SECONDS,
        path=reverse("admin:cognito"),
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # it comes along when the hosted login sends the browser back
    )
    return response


def forgetting(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The view that browsers come back to. After it a browser forgets its visit, whatever came of it."""

    @wraps(view)
    def answered(request: HttpRequest) -> HttpResponseBase:
        response = view(request)
        if isinstance(response, HttpResponse):
            response.delete_cookie(COOKIE, path=reverse("admin:cognito"), samesite="Lax")
        return response

    return answered


def complete(request: HttpRequest, *, state: str, code: str) -> tuple[User, str]:
    """The operator whom the hosted login has sent back, and where their sign-in leads.

    Raises Forbidden for a return that this browser did not begin, for a token that is not accepted, and for who is no
    Admin or is suspended, and ServiceUnavailable where the token endpoint does not answer.
    """
    stored = request.get_signed_cookie(COOKIE, None, max_age=VISIT_SECONDS)
    if stored is None:
        raise Forbidden("This sign-in was not begun here, or took too long. Please begin again.")
    visit = Visit(**json.loads(stored))
    if not hmac.compare_digest(visit.state.encode(), state.encode()) or not 0 < len(code) <= LONGEST_CODE:
        raise Forbidden("This sign-in was not begun here. Please begin again.")
    if not connection.in_atomic_block:
        release_connection()  # the exchange waits for another machine
    token = _exchange(code, visit.verifier)
    try:
        claims = _verifier(*_configuration()).verify(token)
    except InvalidToken as error:
        logger.warning("sign-in by Cognito refused", reason=str(error))
        raise Forbidden("The sign-in service sent a token that is not accepted.") from None
    except jwks.KeysUnavailable:
        raise ServiceUnavailable("The keys of the sign-in service cannot be loaded now; try again.") from None
    nonce = payload_of(token).get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), visit.nonce.encode()):
        logger.warning("sign-in by Cognito refused", reason="another nonce")
        raise Forbidden("The sign-in service sent a token that is not accepted.")
    return _operator_of(request, claims), visit.next_url


def _operator_of(request: HttpRequest, claims: Claims) -> User:
    """The operator behind a token: an Admin, who is made one or stays one. Raises Forbidden for everybody else.

    Who has left the group loses the role and every session.
    """
    user = users.user_of(claims)
    if ADMIN not in claims.groups:
        _retire(request, user)
        logger.warning("sign-in by Cognito refused", reason="not in the group Admin", operator_id=user.pk)
        raise Forbidden("Your account is not in the group Admin, which the console asks for.")
    if not user.is_active:
        raise Forbidden("Your account is suspended.")
    with transaction.atomic():
        row = User.objects.select_for_update().get(pk=user.pk)
        if not row.is_staff:
            row.is_staff, row.login = True, _free_login(row)
            row.save(update_fields=["is_staff", "login"])
            operators.assign(row, Role.ADMIN)
            actor = Caller(user_id=row.pk, is_operator=True, origin=origin_of(request))
            record(operators.CREATE_OPERATOR, row.pk, actor=actor, values={"role": Role.ADMIN})
    return row


def _free_login(user: User) -> str:
    """A login that tells people who it is: the name in the pool, or the subject where that is too long or taken."""
    login = f"{operators.COGNITO_PREFIX}{user.username}"
    is_usable = len(login) <= operators.LONGEST_LOGIN and not User.objects.filter(login=login).exists()
    return login if is_usable else f"{operators.COGNITO_PREFIX}{user.pk}"


def _retire(request: HttpRequest, user: User) -> None:
    """Takes the console from somebody who came by Cognito and is no Admin any more."""
    if not user.is_staff or not (user.login or "").startswith(operators.COGNITO_PREFIX):
        return
    with transaction.atomic():
        row = User.objects.select_for_update().get(pk=user.pk)
        before = role_of(row)
        row.groups.clear()
        User.objects.filter(pk=row.pk).update(is_staff=False, login=None)
        session_store.end_all(row.pk)
        actor = Caller(user_id=row.pk, origin=origin_of(request))
        record(operators.RETIRE_OPERATOR, row.pk, actor=actor, values={"role": before})


# ---- The token endpoint ---------------------------------------------------------------------------------------------


def _exchange(code: str, verifier: str) -> str:
    """The ID token for a code. Raises Forbidden where the code is refused, and ServiceUnavailable for the endpoint's
    own fault, where it is busy, and where it does not answer.
    """
    form = {
        "grant_type": "authorization_code",
        "client_id": settings.CONSOLE_OIDC_CLIENT_ID,
        "code": code,
        "redirect_uri": _way_back(),
        "code_verifier": verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if settings.CONSOLE_OIDC_CLIENT_SECRET:
        basic = f"{settings.CONSOLE_OIDC_CLIENT_ID}:{settings.CONSOLE_OIDC_CLIENT_SECRET}"
        headers["Authorization"] = f"Basic {base64.b64encode(basic.encode()).decode()}"
    url, deadline = f"{settings.CONSOLE_OIDC_DOMAIN}/oauth2/token", time.monotonic() + TOTAL_SECONDS

    def post() -> tuple[int, bytes]:
        response = _pool.request(
            "POST", url, body=urlencode(form), headers=headers, redirect=False, preload_content=False
        )
        try:
            body = b""
            while part := response.read1(16_384):
                body += part
                if len(body) > LARGEST_RESPONSE or time.monotonic() > deadline:
                    raise TimeoutError
            return response.status, body
        finally:
            response.close()

    try:
        status, body = within(TOTAL_SECONDS, post)
    except (urllib3.exceptions.HTTPError, TimeoutError, OSError) as error:
        logger.warning("the token endpoint did not answer", error=type(error).__name__)
        raise ServiceUnavailable("The sign-in service does not answer; try again.") from None
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        logger.warning("the token endpoint failed", status=status)
        raise ServiceUnavailable("The sign-in service cannot answer now; try again in a moment.")
    if status != HTTPStatus.OK:
        logger.warning("the token endpoint refused a code", status=status)
        raise Forbidden("The sign-in service refused this sign-in. Please begin again.")
    try:
        token = json.loads(body)["id_token"]
    except (ValueError, LookupError, TypeError, RecursionError):
        token = None
    if not isinstance(token, str):
        raise Forbidden("The sign-in service sent no token.")
    return token


def _way_back() -> str:
    """The address that the hosted login sends browsers to. It stands in the client's list of callback URLs."""
    return f"{settings.PUBLIC_BASE_URL}{reverse('admin:cognito_return')}"


def _challenge(verifier: str) -> str:
    """RFC 7636, S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _configuration() -> tuple[Any, ...]:
    return (
        settings.COGNITO_ISSUER,
        settings.CONSOLE_OIDC_CLIENT_ID,
        settings.COGNITO_JWKS_URL,
        settings.JWKS_TIMEOUT,
        settings.JWKS_STALE_HOURS,
    )


@lru_cache(maxsize=1)
def _verifier(issuer: str, client_id: str, jwks_url: str, timeout: float, stale_hours: int) -> TokenVerifier:
    """A verifier of its own: it takes tokens of the console's client alone, which the API's verifier refuses."""
    keys = jwks.CachedKeys(
        lambda: jwks.fetch(jwks_url, timeout=timeout), stale_seconds=stale_hours * 3600.0, patience=timeout + 1
    )
    return TokenVerifier([TrustedIssuer(issuer, (client_id,), keys)])

"""Cognito ID tokens: verified as AWS prescribes, and the user behind them.

Local identities take the same path; only their issuer and the source of their keys differ.
"""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

import jwt
from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from bedrock_chat import logs
from bedrock_chat.database import compiled_sql
from bedrock_chat.identity import jwks, local
from bedrock_chat.identity.addresses import client_address
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import Forbidden, TooManyRequests, Unauthenticated

logger = logging.getLogger(__name__)

LEEWAY_SECONDS = 10  # clocks of the pool and of this server differ; the cache of claims honours the same
LONGEST_TOKEN = 16_384
CACHED_TOKENS = 10_000
REQUIRED = ["exp", "iat", "iss", "sub", "aud", "token_use"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says of its user."""

    sub: str
    username: str
    email: str
    groups: tuple[str, ...]
    expires_at: float


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """Somebody whose tokens count, for whom they must be meant, and where the keys are."""

    issuer: str
    audiences: tuple[str, ...]
    keys: jwks.KeySource


class InvalidToken(Exception):
    """A token that does not count; the message is safe to tell."""


class TokenVerifier:
    """Verifies tokens of the trusted issuers and remembers each until it expires, by its hash alone."""

    def __init__(self, issuers: Iterable[TrustedIssuer]) -> None:
        self._issuers = {trusted.issuer: trusted for trusted in issuers}
        self._lock = threading.Lock()
        self._seen: OrderedDict[bytes, Claims] = OrderedDict()

    def verify(self, token: str) -> Claims:
        """The claims of a token. Raises InvalidToken."""
        digest = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        with self._lock:
            claims = self._seen.get(digest)
            if claims is not None:
                self._seen.move_to_end(digest)
        if claims is None:
            claims = self._verify(token)
            with self._lock:
                self._seen[digest] = claims
                if len(self._seen) > CACHED_TOKENS:
                    self._seen.popitem(last=False)
        elif claims.expires_at + LEEWAY_SECONDS <= time.time():
            with self._lock:
                self._seen.pop(digest, None)
            raise InvalidToken("The token has expired")
        return claims

    def _verify(self, token: str) -> Claims:
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken("The token is too long")
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
            trusted = self._issuers.get(str(unverified.get("iss")))
            if trusted is None:
                raise InvalidToken("The token is of an unknown issuer")
            if header.get("alg") != "RS256":
                raise InvalidToken("The token is not signed with RS256")
            key = trusted.keys.key(str(header.get("kid")))
            if key is None:
                raise InvalidToken("The token's key is unknown")
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                audience=trusted.audiences,
                issuer=trusted.issuer,
                leeway=LEEWAY_SECONDS,
                options={
                    "require": REQUIRED,
                    "verify_signature": True,
                    "verify_exp": True,
                    "verify_aud": True,
                    "verify_iss": True,
                    "verify_iat": True,
                },
            )
        except InvalidToken:
            raise
        except jwt.ExpiredSignatureError:
            raise InvalidToken("The token has expired") from None
        except jwt.InvalidAudienceError:
            raise InvalidToken("The token is for another audience") from None
        except jwt.MissingRequiredClaimError as error:
            raise InvalidToken(f"The token has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError, AttributeError):
            raise InvalidToken("The token cannot be verified") from None
        return _claims(claims)


def _claims(claims: dict[str, Any]) -> Claims:
    """What the rest of the server reads, each of the type that Cognito gives it. PyJWT itself takes "60" for a time."""
    if claims["token_use"] != "id":  # noqa: S105  a claim, no password
        raise InvalidToken("The token is not an ID token")
    if not isinstance(claims["aud"], str):
        raise InvalidToken("The token is for another audience")
    if not all(_is_time(claims[name]) for name in ("exp", "iat")):
        raise InvalidToken("The token's times cannot be used")
    sub, username = claims["sub"], claims.get("cognito:username")
    if not _is_text(sub) or len(sub) > 128:
        raise InvalidToken("The token's subject cannot be used")
    if not _is_text(username):
        raise InvalidToken("The token has no cognito:username")
    email, groups = claims.get("email") or "", claims.get("cognito:groups") or []
    if (email and not _is_text(email)) or not isinstance(groups, list) or not all(map(_is_text, groups)):
        raise InvalidToken("The token's email or groups cannot be used")
    return Claims(
        sub=sub,
        username=username[:256],
        email=email[:320],
        groups=tuple(groups),
        expires_at=float(claims["exp"]),
    )


def _is_time(value: Any) -> bool:
    """Seconds of the epoch, within what a float holds exactly."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_text(value: Any) -> TypeGuard[str]:
    """Something that both databases can store: PostgreSQL refuses NUL, and lone surrogates have no UTF-8."""
    return isinstance(value, str) and value != "" and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


# ---- The verifier of this process -----------------------------------------------------------------------------------

_verifier: TokenVerifier | None = None
_verifier_lock = threading.Lock()


def verifier() -> TokenVerifier:
    global _verifier  # noqa: PLW0603  one cache of keys and claims per process
    if _verifier is None:
        with _verifier_lock:
            if _verifier is None:
                _verifier = TokenVerifier(_trusted_issuers())
    return _verifier


def reset() -> None:
    """Forgets keys and claims, so that the next request reads the settings anew."""
    global _verifier  # noqa: PLW0603
    _verifier = None


def _trusted_issuers() -> Iterable[TrustedIssuer]:
    stale_seconds = settings.JWKS_STALE_HOURS * 3600.0
    if settings.COGNITO_USER_POOL_ID:
        url, timeout = settings.COGNITO_JWKS_URL, settings.JWKS_TIMEOUT
        keys = jwks.CachedKeys(
            lambda: jwks.fetch(url, timeout=timeout), stale_seconds=stale_seconds, patience=timeout + 1
        )
        yield TrustedIssuer(settings.COGNITO_ISSUER, tuple(settings.COGNITO_CLIENT_IDS), keys)
    if settings.LOCAL_IDENTITIES:
        keys = jwks.CachedKeys(lambda: jwks.parse(local.jwks_document()), stale_seconds=stale_seconds, cool_down=1)
        yield TrustedIssuer(settings.LOCAL_ISSUER, (settings.LOCAL_CLIENT_ID,), keys)


# ---- The user behind a token ----------------------------------------------------------------------------------------


def user_of(claims: Claims) -> User:
    """The user's row: read per request, so that suspending acts at once; written only where the claims are news."""
    told = {"username": claims.username, "email": claims.email, "token_groups": list(claims.groups)}
    user = compiled_sql.get(User, {"pk": claims.sub})
    if user is None:
        made = User(pk=claims.sub, **told)
        made.set_unusable_password()
        User.objects.bulk_create([made], ignore_conflicts=True)  # two first requests may race
        user = User.objects.get(pk=claims.sub)
    if any(getattr(user, name) != value for name, value in told.items()):
        User.objects.filter(pk=user.pk).update(**told)
        for name, value in told.items():
            setattr(user, name, value)
    return user


def sign_in(request: HttpRequest, token: str) -> Caller:
    """The caller behind a token that did not come in a header. Raises Unauthenticated, Forbidden, TooManyRequests."""
    return _sign_in(request, token)[1]


def _sign_in(request: HttpRequest, token: str) -> tuple[User, Caller]:
    try:
        if not token:
            raise InvalidToken("A bearer token is needed")
        claims = verifier().verify(token)
    except InvalidToken as error:
        _count_failure(request)
        raise Unauthenticated(
            f"{error}.",
            headers={"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{error}"'},
        ) from None
    user = user_of(claims)
    logs.bind(user_id=user.pk)
    if not user.is_active:
        raise Forbidden("Your account is suspended.")
    return user, Caller(user_id=user.pk, groups=frozenset(claims.groups))


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <ID token>`. `request.user` is the User, `request.auth` the frozen Caller."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        given = request.META.get("HTTP_AUTHORIZATION")
        if given is None:
            return None
        scheme, _, token = given.strip().partition(" ")
        return _sign_in(request._request, token.strip() if scheme.lower() == "bearer" else "")

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _count_failure(request: HttpRequest) -> None:
    """Only failures count, so a valid token always passes. Raises TooManyRequests beyond FAILED_TOKENS_RATE."""
    try:
        usage = get_usage(
            request,
            group="failed tokens",
            key=lambda _group, request: client_address(request),
            rate=settings.FAILED_TOKENS_RATE,
            increment=True,
        )
    except Exception as error:  # noqa: BLE001  a cache that is away is no reason to answer a bad token with a 500
        logger.warning("failed tokens are not counted: %s", type(error).__name__)
        return
    if usage is not None and usage["should_limit"]:
        raise TooManyRequests("Too many failed tokens from this address.", retry_after=usage["time_left"])


def caller_of(request: Request) -> Caller:
    """The verified caller of an authenticated request."""
    assert isinstance(request.auth, Caller)
    return request.auth


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """How the OpenAPI document describes the token."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A Cognito ID token."}

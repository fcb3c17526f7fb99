"""Turns a token into its caller: over HTTP for DRF, over the WebSocket through `sign_in`."""

from typing import Any

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from bedrock_chat import logs
from bedrock_chat.identity import failed_tokens
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.jwks import KeysUnavailable
from bedrock_chat.identity.models import User
from bedrock_chat.identity.origin import origin_of
from bedrock_chat.identity.tokens import InvalidToken, verifier
from bedrock_chat.identity.users import user_of
from bedrock_chat.wire.errors import Forbidden, ServiceUnavailable, Unauthenticated
from bedrock_chat.wire.requests import CALLER

RETRY_SECONDS = 1  # keys that come back are used at once


def sign_in(request: HttpRequest, token: str) -> Caller:
    """The caller behind a token that did not come in a header. Raises what `_sign_in` raises."""
    return _sign_in(request, token)[1]


def _sign_in(request: HttpRequest, token: str) -> tuple[User, Caller]:
    """The user and the caller behind a token. Raises Unauthenticated, Forbidden, TooManyRequests, ServiceUnavailable.

    1. The token is verified. If it fails, the failure counts against the client's address. While its issuer's keys
       cannot be loaded nobody knows whether it would fail, so nothing is counted.
    2. The user's row is read, or made for a new user.
    3. A suspended user is refused.
    """
    try:
        if not token:
            raise InvalidToken("A bearer token is needed")
        claims = verifier().verify(token)
    except InvalidToken as error:
        failed_tokens.count(request)
        raise Unauthenticated(
            f"{error}.",
            headers={"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{error}"'},
        ) from None
    except KeysUnavailable:
        raise ServiceUnavailable(
            "Tokens cannot be verified now, since their issuer's keys cannot be loaded; try again.",
            retry_after=RETRY_SECONDS,
        ) from None
    user = user_of(claims)
    logs.bind(user_id=user.pk)
    if not user.is_active:
        raise Forbidden("Your account is suspended.")
    caller = Caller(user_id=user.pk, groups=frozenset(claims.groups), origin=origin_of(request))
    request.META[CALLER] = caller.account
    return user, caller


def caller_of(request: HttpRequest) -> str | None:
    """One of the settings' BODY_JUDGES: the user whose token a request has. Raises as `sign_in` does."""
    token = bearer_token(request)
    return None if token is None else sign_in(request, token).account


def bearer_token(request: HttpRequest) -> str | None:
    """The token of the Authorization header, "" where the header has none, None where there is no such header."""
    header = request.META.get("HTTP_AUTHORIZATION")
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <ID token>`. `request.user` is the User, `request.auth` the frozen Caller."""

    def authenticate(self, request: Request) -> tuple[User, Caller] | None:
        token = bearer_token(request._request)
        return None if token is None else _sign_in(request._request, token)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """How the OpenAPI document describes the token."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A Cognito ID token."}

"""Cognito ID tokens, verified as AWS prescribes.

Local tokens take the same path; only their issuer and the source of their keys differ.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from django.conf import settings

from bedrock_chat.database.text import is_storable
from bedrock_chat.identity import jwks, local

if TYPE_CHECKING:
    import jwt

LEEWAY_SECONDS = 10  # the clocks of the pool and of this server differ; the cache of claims allows as much
LONGEST_TOKEN = 16_384  # characters
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
    """An issuer whose tokens are accepted, the audiences that they must name, and where its keys are."""

    issuer: str
    audiences: tuple[str, ...]
    keys: jwks.KeySource


class InvalidToken(Exception):
    """A token that is not accepted. The message may be shown to the client."""


class TokenVerifier:
    """Verifies tokens of the trusted issuers. Caches the claims of each until it expires, by its hash alone."""

    def __init__(self, issuers: Iterable[TrustedIssuer]) -> None:
        self._issuers = {trusted.issuer: trusted for trusted in issuers}
        self._lock = threading.Lock()
        self._seen: OrderedDict[bytes, Claims] = OrderedDict()

    def verify(self, token: str) -> Claims:
        """The claims of a token. Raises InvalidToken, KeysUnavailable."""
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
        """The claims of a token that is not in the cache. Raises InvalidToken, KeysUnavailable.

        1. Header and claims are read unverified, to find the trusted issuer.
        2. All that needs no key is judged, so that an expired token is one even while no key can be loaded.
        3. The key verifies the signature.
        """
        import jwt  # noqa: PLC0415  cryptography comes with it: 8 MB

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
            if token.endswith("="):
                # PyJWT takes a padded signature too (and nothing else that is not RFC 7515's base64url): the same token
                # in another text, with an entry of its own in the cache of claims.
                raise InvalidToken("The token's signature is padded")
            claims = _claims(_decode(token, trusted))
            kid = header.get("kid")
            key = trusted.keys.key(kid) if _is_text(kid) else None
            if key is None:
                raise InvalidToken("The token's key is unknown")
            _decode(token, trusted, key)
        except (InvalidToken, jwks.KeysUnavailable):
            raise
        except jwt.ExpiredSignatureError:
            raise InvalidToken("The token has expired") from None
        except jwt.InvalidAudienceError:
            raise InvalidToken("The token is for another audience") from None
        except jwt.MissingRequiredClaimError as error:
            raise InvalidToken(f"The token has no {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError, AttributeError):
            raise InvalidToken("The token cannot be verified") from None
        return claims


def _decode(token: str, trusted: TrustedIssuer, key: "jwt.PyJWK | None" = None) -> dict[str, Any]:
    """The token's payload, its times, audience and issuer checked; with a key its signature too.

    Raises jwt.PyJWTError, and for odd payloads whatever PyJWT lets through: ValueError, TypeError, RecursionError …
    """
    import jwt  # noqa: PLC0415

    payload: dict[str, Any] = jwt.decode(
        token,
        key or "",
        algorithms=["RS256"],
        audience=trusted.audiences,
        issuer=trusted.issuer,
        leeway=LEEWAY_SECONDS,
        options={
            "require": REQUIRED,
            "verify_signature": key is not None,
            # Without a signature to verify, PyJWT checks only what is named.
            "verify_exp": True,
            "verify_nbf": True,
            "verify_iat": True,
            "verify_aud": True,
            "verify_iss": True,
            "verify_sub": True,
            "verify_jti": True,
        },
    )
    return payload


def payload_of(token: str) -> dict[str, Any]:
    """Everything that a token says. Only for a token that a verifier has just accepted: nothing is checked here."""
    import jwt  # noqa: PLC0415

    payload: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return payload


def _claims(payload: dict[str, Any]) -> Claims:
    """The claims that the server reads. Each must have the type that Cognito gives it: PyJWT accepts "60" as a time.

    Raises InvalidToken.
    """
    if payload["token_use"] != "id":  # noqa: S105  a claim, no password
        raise InvalidToken("The token is not an ID token")
    if not isinstance(payload["aud"], str):
        raise InvalidToken("The token is for another audience")
    if not all(_is_time(payload[name]) for name in ("exp", "iat")):
        raise InvalidToken("The token's times cannot be used")
    sub, username = payload["sub"], payload.get("cognito:username")
    if not _is_text(sub) or len(sub) > 128:
        raise InvalidToken("The token's subject cannot be used")
    if not _is_text(username):
        raise InvalidToken("The token has no cognito:username")
    email, groups = payload.get("email") or "", payload.get("cognito:groups") or []
    if (email and not _is_text(email)) or not isinstance(groups, list) or not all(map(_is_text, groups)):
        raise InvalidToken("The token's email or groups cannot be used")
    return Claims(
        sub=sub,
        username=username[:256],
        email=email[:320],
        groups=tuple(groups),
        expires_at=float(payload["exp"]),
    )


def _is_time(value: Any) -> bool:
    """Whether it is a number of seconds since the epoch that a float holds exactly."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value != "" and is_storable(value)


# ---- The verifier of this process -----------------------------------------------------------------------------------

_verifier: TokenVerifier | None = None
_verifier_lock = threading.Lock()


def verifier() -> TokenVerifier:
    """The verifier of this process, made from the settings when first needed."""
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

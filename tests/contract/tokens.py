"""Tokens that must be refused. Each has one fault, and is signed with the local key unless that is the fault."""

import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings

from bedrock_chat.identity import local
from bedrock_chat.identity.models import SigningKey
from tests.people import token_for


@cache
def _pem() -> str:
    return another_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def known_key() -> None:
    """Puts a signing key into the database of a test; to make one takes longer than most tests."""
    SigningKey.objects.get_or_create(kid=local.FIRST_KEY, defaults={"private_key": _pem()})


def forged(username: str, *, kid: str = "", key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
    """A local ID token with other claims, another key id, or another key behind the same id."""
    user, local_key, now = local.local_user(username), local.signing_key(), int(time.time())
    sound_claims = {
        "iss": settings.LOCAL_ISSUER,
        "aud": settings.LOCAL_CLIENT_ID,
        "sub": user.pk,
        "token_use": "id",
        "cognito:username": user.username,
        "iat": now,
        "exp": now + 3600,
    }
    signing_key = key or local._private_key(local_key)
    return jwt.encode({**sound_claims, **claims}, signing_key, algorithm="RS256", headers={"kid": kid or local_key.kid})


def another_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def bad_authorizations(username: str) -> dict[str, str]:
    """Fault of the token → the Authorization header."""
    token, now = token_for(username), int(time.time())
    return {
        "malformed-token": "Bearer not.a.jwt",
        "no-scheme": token,
        "wrong-scheme": f"Token {token}",
        "expired-token": f"Bearer {forged(username, exp=now - 30, iat=now - 3630)}",
        "wrong-audience": f"Bearer {forged(username, aud='somebody-else')}",
        "unknown-kid": f"Bearer {forged(username, kid='nobody')}",
        "bad-signature": f"Bearer {forged(username, key=another_key())}",
        "wrong-issuer": f"Bearer {forged(username, iss='https://evil.example.com')}",
        "access-token": f"Bearer {forged(username, token_use='access')}",
    }

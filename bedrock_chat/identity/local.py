"""Local identities: users, a signing key and tokens of our own, for development and for trying things out.

Their tokens are shaped like Cognito's and verified the same way. Off unless DEBUG or LOCAL_IDENTITIES say otherwise.
"""

import json
import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import MethodNotAllowed

from bedrock_chat.identity.caller import ADMIN, CREATING_BOT_ALLOWED, PUBLISH_ALLOWED
from bedrock_chat.identity.models import SigningKey, User
from bedrock_chat.wire import errors
from bedrock_chat.wire.ids import new_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa

FIRST_KEY = "local-1"
OPERATOR = "operator"
SEEDED = {"alice": (ADMIN,), "bob": (), "carol": (CREATING_BOT_ALLOWED, PUBLISH_ALLOWED)}
DAY = 86_400
LONGEST_DAYS = 36_500


def signing_key() -> SigningKey:
    """The newest key, made when first needed. If two processes make it at once, both get the one stored first."""
    key = SigningKey.objects.first()
    if key is None:
        SigningKey.objects.bulk_create([new_key()], ignore_conflicts=True)
        key = SigningKey.objects.get(kid=FIRST_KEY)
    return key


def new_key() -> SigningKey:
    """A first key, not stored yet."""
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415  cryptography takes 8 MB
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return SigningKey(kid=FIRST_KEY, private_key=pem)


def _private_key(key: SigningKey) -> "rsa.RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415  cryptography takes 8 MB
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    # Our own key needs no validation, which takes a thousand times as long as loading it.
    loaded = load_pem_private_key(key.private_key.encode(), password=None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    return loaded


def jwks_document() -> dict[str, list[dict[str, Any]]]:
    """The public keys, as a JWKS document."""
    import jwt  # noqa: PLC0415  cryptography comes with it: 8 MB

    keys = []
    for key in SigningKey.objects.all():
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_private_key(key).public_key()))
        keys.append({**public, "kid": key.kid, "alg": "RS256", "use": "sig"})
    return {"keys": keys}


@method_decorator(csrf_exempt, name="dispatch")  # a POST is a 405, not Django's page about CSRF cookies
class JwksView(View):
    """`GET /.well-known/jwks.json`: what another server needs to verify our local tokens."""

    def get(self, request: HttpRequest) -> JsonResponse:
        return JsonResponse(jwks_document(), headers={"Cache-Control": "public, max-age=300"})

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        error = errors.as_api_error(MethodNotAllowed(str(request.method)))
        error.headers["Allow"] = "GET, HEAD, OPTIONS"
        return errors.json_error(error)


def local_user(username: str, *, email: str = "") -> User:
    """The local user of that name, made when first needed. Its id never changes."""
    users = User.objects.filter(id__startswith="local:", username=username, login__isnull=True).order_by("id")
    user = users.first()
    if user is None:
        key = signing_key()
        with transaction.atomic():
            # Two calls at once take turns here: SQLite begins with IMMEDIATE, elsewhere the key's row is locked.
            SigningKey.objects.select_for_update().get(pk=key.pk)
            user = users.first()
            if user is None:
                user = User(id=f"local:{new_id()}", username=username, email=email or f"{username}@example.com")
                user.set_unusable_password()
                user.save(force_insert=True)
    return user


def issue_token(username: str, groups: Iterable[str] = (), *, days: float = 30, email: str = "") -> str:
    """An ID token for a local user. Raises CommandError for a bad argument, or if local identities are off."""
    if not settings.LOCAL_IDENTITIES:
        raise CommandError("Local identities are off here; LOCAL_IDENTITIES=true turns them on.")
    groups = sorted(set(groups))
    if not 0 < len(username) <= 256 or len(email) > 320 or not all(map(str.isprintable, (username, email, *groups))):
        raise CommandError("A user name has 1 to 256 characters, an email at most 320, and all of them can be printed.")
    if not all(groups):
        raise CommandError("A group needs a name.")
    if not 0 < days <= LONGEST_DAYS:
        raise CommandError(f"A token is good for more than 0 and at most {LONGEST_DAYS} days.")
    user, key, now = local_user(username, email=email), signing_key(), int(time.time())
    claims = {
        "iss": settings.LOCAL_ISSUER,
        "aud": settings.LOCAL_CLIENT_ID,
        "sub": user.pk,
        "token_use": "id",
        "cognito:username": user.username,
        "email": email or user.email,
        "iat": now,
        "auth_time": now,
        "exp": now + int(days * DAY),
        "jti": new_id(),
    }
    if groups:
        claims["cognito:groups"] = groups
    import jwt  # noqa: PLC0415  cryptography comes with it: 8 MB

    return jwt.encode(claims, _private_key(key), algorithm="RS256", headers={"kid": key.kid})


def seed() -> str:
    """Makes the local users of a first start; returns a token for alice, who is Admin."""
    for username in SEEDED:
        local_user(username)
    return issue_token("alice", SEEDED["alice"])


def first_operator() -> tuple[str, str | None]:
    """The console's first login, and its password if this call made it. Only the password's hash is stored."""
    operator = User.objects.filter(is_staff=True, is_superuser=True).order_by("created_at").first()
    if operator is not None and operator.login:
        return operator.login, None
    password = secrets.token_urlsafe(12)
    try:
        with transaction.atomic():
            User.objects.create_superuser(OPERATOR, password)
    except IntegrityError:  # another process was first
        return OPERATOR, None
    return OPERATOR, password

"""Secrets in a column of the product: `private_key` of the keys that sign tokens, a text by a name."""

import threading

from django.db import transaction

from bedrock_chat.encryption import encrypting, keys, rotating
from bedrock_chat.identity.models import SigningKey

COLUMN = "bedrock_chat.SigningKey.private_key"


def new_key() -> str:
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


def store(name: str, text: str) -> str:
    """Stores the text as a secret. Returns its token."""
    with transaction.atomic():
        token = encrypting.encrypt(text)
        SigningKey.objects.update_or_create(kid=name, defaults={"private_key": token})
    return token


def read(name: str) -> str:
    return encrypting.decrypt(SigningKey.objects.get(kid=name).private_key)


def begin_anew() -> None:
    """Has this process know as little of the keys as one that has just started."""
    keys._found_complete = threading.Event()


def register() -> None:
    rotating.register(SigningKey, "private_key")

"""The keys of this server, and which of them stored secrets need.

They are those of ENCRYPTION_KEYS. Where it is not set, a server on SQLite makes one (`key_file`). On PostgreSQL there
may be several machines, so there it has none. A key is known by its fingerprint.
"""

import hashlib
import hmac
import threading

from django.conf import settings
from django.db import connection, transaction

from bedrock_chat.encryption import key_file
from bedrock_chat.encryption.errors import EncryptionError, KeyFileUnusable, KeyMissing, NoKey
from bedrock_chat.encryption.models import EncryptionKey

_found_complete = threading.Event()


def fingerprint(key: str) -> str:
    """16 hexadecimal digits. They are a one-way function of 32 random bytes, so nobody gets from them to the key."""
    return hmac.new(key.encode(), b"bedrock-chat: fingerprint of an encryption key", hashlib.sha256).hexdigest()[:16]


def usable() -> list[str]:
    """The keys of this server: the first encrypts, all decrypt. Raises KeyFileUnusable."""
    if settings.ENCRYPTION_KEYS or connection.vendor != "sqlite":
        return list(settings.ENCRYPTION_KEYS)
    key = key_file.read()
    return [] if key is None else [key]


def first() -> str:
    """The key that encrypts. On SQLite it is made if there was never one.

    Raises NoKey, KeyFileUnusable, and KeyMissing where the file is gone that stored secrets need: a new key in its
    place would hide the loss.
    """
    if keys := usable():
        return keys[0]
    if connection.vendor != "sqlite":
        raise NoKey
    require_for_stored_secrets()
    return key_file.make()


# ---- Keys in use ----------------------------------------------------------------------------------------------------


def in_use() -> list[str]:
    """The fingerprints of the keys that stored secrets are encrypted with."""
    return list(EncryptionKey.objects.order_by("pk").values_list("pk", flat=True))


def hold(key_fingerprint: str) -> None:
    """Writes down that a secret is stored under the key of this fingerprint, in the transaction that stores it.

    Until that transaction ends nobody can strike the key out (`rotating._strike_out_if_unused`). On SQLite one
    transaction writes at a time. On PostgreSQL a lock holds the row, which any number of transactions share.
    """
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("A secret is encrypted in the transaction that stores it.")
    while not _lock(key_fingerprint):
        EncryptionKey.objects.bulk_create([EncryptionKey(fingerprint=key_fingerprint)], ignore_conflicts=True)


def _lock(key_fingerprint: str) -> bool:
    """Whether the row is there; from here on it stays."""
    if connection.vendor != "postgresql":
        return EncryptionKey.objects.filter(pk=key_fingerprint).exists()
    with connection.cursor() as cursor:  # Django knows no FOR KEY SHARE
        table = connection.ops.quote_name(EncryptionKey._meta.db_table)
        cursor.execute(f"SELECT 1 FROM {table} WHERE fingerprint = %s FOR KEY SHARE", [key_fingerprint])  # noqa: S608
        return cursor.fetchone() is not None


def require_for_stored_secrets() -> None:
    """Raises KeyMissing where stored secrets need a key that this server does not have, KeyFileUnusable where its file
    is damaged, and a database error where the database cannot be asked.
    """
    needed = in_use()
    if not needed:
        return
    missing = set(needed) - {fingerprint(key) for key in usable()}
    if missing:
        raise KeyMissing(_sentence(sorted(missing)))


def require_for_stored_secrets_once() -> None:
    """The same. Once all keys were there, the database is not asked again."""
    if not _found_complete.is_set():
        require_for_stored_secrets()
        _found_complete.set()


def lack() -> str | None:
    """What keeps this server from reading stored secrets, in one sentence. Raises database errors."""
    try:
        require_for_stored_secrets_once()
    except EncryptionError as error:
        return str(error)
    return None


def _sentence(missing: list[str]) -> str:
    which = f"the key{'s' if len(missing) > 1 else ''} with the fingerprint {', '.join(missing)}"
    if settings.ENCRYPTION_KEYS:
        return f"ENCRYPTION_KEYS lacks {which}, which stored secrets are encrypted with. {_where(missing)}"
    file = ""
    if connection.vendor == "sqlite":
        file = f", {key_file.path()} {'holds another key' if key_file.path().exists() else 'is not there'}"
    return f"ENCRYPTION_KEYS is not set{file}, and stored secrets are encrypted with {which}. {_where(missing)}"


def _where(missing: list[str]) -> str:
    """Where such a key may be found."""
    try:
        key = key_file.read()
    except KeyFileUnusable:
        key = None
    if key is not None and fingerprint(key) in missing:
        return f"{key_file.path()} holds it."
    return "docs/OPERATING.md says what to do (Secrets and their keys)."

"""From a secret to what is stored of it, and back.

A token is `<fingerprint>:<Fernet token>`, in ASCII; a secret of n bytes makes one of about 4/3 n + 120 characters. With
its fingerprint the database can tell which tokens are under which key, and an error can name the key that is missing.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from bedrock_chat.encryption import keys
from bedrock_chat.encryption.errors import KeyMissing, NoKey, SecretDamaged

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_TOKEN = re.compile(r"([0-9a-f]{16}):([A-Za-z0-9_=-]+)")


def encrypt(text: str) -> str:
    """A token of this text, to be stored in the transaction that calls this. Two tokens of one text differ.

    Whoever copies a token from one row to another calls this with the decrypted text: a copy could come back under a
    key that has been struck out meanwhile. The column is to be in `rotating.register`.

    Raises NoKey, KeyMissing and KeyFileUnusable, which clients see as 503, and TransactionManagementError outside of a
    transaction.
    """
    key = keys.first()
    fingerprint = keys.fingerprint(key)
    keys.hold(fingerprint)
    return f"{fingerprint}:{_cipher(key).encrypt(text.encode(errors='surrogatepass')).decode()}"


def decrypt(token: str) -> str:
    """The text. Raises NoKey, KeyMissing, KeyFileUnusable, and SecretDamaged where the token is none of ours."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise SecretDamaged("A stored secret is damaged: it does not look like one.")
    fingerprint, encrypted = parts.groups()
    usable = keys.usable()
    if not usable:
        raise NoKey
    if fingerprint not in map(keys.fingerprint, usable):
        raise KeyMissing(f"A stored secret needs the key with the fingerprint {fingerprint}, which this server lacks.")
    from cryptography.fernet import InvalidToken  # noqa: PLC0415  cryptography takes 8 MB

    try:
        return _cipher(*usable).decrypt(encrypted).decode(errors="surrogatepass")
    except InvalidToken:
        sentence = f"A stored secret is damaged: the key with the fingerprint {fingerprint} does not open it."
        raise SecretDamaged(sentence) from None


@lru_cache(maxsize=8)
def _cipher(*usable: str) -> "MultiFernet":
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415  cryptography takes 8 MB

    return MultiFernet([Fernet(key) for key in usable])

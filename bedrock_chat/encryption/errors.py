"""What can be wrong with keys and secrets. The sentences are for operators: none shows a key or a secret."""


class EncryptionError(Exception):
    """A secret cannot be stored, or not be read, before an operator has done something."""


class NoKey(EncryptionError):
    """Nobody has given this server a key."""

    def __init__(self) -> None:
        super().__init__("ENCRYPTION_KEYS is not set, so that secrets can be neither stored nor read.")


class KeyMissing(EncryptionError):
    """The key of a stored secret is none of this server's."""


class KeyFileUnusable(EncryptionError):
    """The file of the key cannot be made, cannot be read, or holds no key."""


class SecretDamaged(EncryptionError):
    """A stored secret is not what was once stored."""

"""The keys that stored secrets are encrypted with, by their fingerprints."""

from django.db import models


class EncryptionKey(models.Model):
    """A key that stored secrets need. Its row comes with the first of them, and goes when none is left.

    The key itself is never in the database: its fingerprint tells which one it is, and nothing of what it is.
    """

    fingerprint = models.CharField(primary_key=True, max_length=16)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.fingerprint

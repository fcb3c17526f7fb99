"""The rows behind stored bodies, and what refers to them."""

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


def new_generation() -> str:
    return secrets.token_hex(8)


class Blob(models.Model):
    """A body in storage. Every upload of the same bytes sets `stored_at`, so that removal leaves recent uploads alone.

    `generation` is the end of the file's name. Every new row gets a new one; the oldest rows have an empty one.
    """

    sha256 = models.CharField(primary_key=True, max_length=64)
    generation = models.CharField(max_length=16, blank=True, default=new_generation)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    stored_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(sha256__regex=r"^[0-9a-f]{64}$"), name="blob_sha256_is_hex")]
        indexes = [models.Index(fields=["stored_at"], name="blobs_by_age")]

    def __str__(self) -> str:
        return self.sha256


class BlobRemoval(models.Model):
    """A file that has no blob any more and is still to be deleted from storage."""

    name = models.CharField(primary_key=True, max_length=128)

    def __str__(self) -> str:
        return self.name


class BlobReference(models.Model):
    """An owner of a blob, named by value: owners are rows of other apps, to which the kernel has no foreign keys."""

    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="references")
    owner_kind = models.CharField(max_length=32)
    owner_id = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner_kind", "owner_id", "blob"], name="one_reference_per_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.owner_kind} {self.owner_id}: {self.blob_id}"


class UsedUploadLink(models.Model):
    """An address that has taken its one upload. The row is kept until the address would have expired anyway.

    How many a user has bounds what they upload a day.
    """

    id = models.CharField(primary_key=True, max_length=32)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    used_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.id

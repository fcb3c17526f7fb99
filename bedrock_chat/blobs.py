"""Bodies of images and documents: one file per content, named by its SHA-256, and who refers to it.

A blob is stored before the transaction that refers to it (`store`), since storage may be a network away; the reference
is written inside that transaction (`refer`). A blob that no reference names, whether its transaction failed or its
owner is gone, is garbage.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.http import content_disposition_header

from bedrock_chat import blob_links
from bedrock_chat.database import release_connection
from bedrock_chat.wire.errors import NotFound, ServiceUnavailable

REMOVAL_SECONDS = 5.0
LOOK_SECONDS = 0.05
UNFINISHED = ".upload-"


class LocalFiles(FileSystemStorage):
    """Files that are whole or absent: a process killed in mid-write leaves no half body under a blob's name."""

    def _save(self, name: str, content: File) -> str:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=UNFINISHED, delete=False) as file:
            unfinished = Path(file.name)
            try:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                unfinished.replace(target)  # atomic, also over a file that a concurrent upload put there
            except BaseException:
                unfinished.unlink()
                raise
        return name

    def remove_unfinished(self, before: datetime) -> None:
        """Removes what processes that were killed in mid-write have left, if it is older than that."""
        for path in Path(self.location).rglob(f"{UNFINISHED}*"):
            if path.stat().st_mtime < before.timestamp():
                path.unlink(missing_ok=True)


class Blob(models.Model):
    """A body in storage. `stored_at` moves on every upload of the same bytes, so that removal can keep its distance.

    Once `removing_at` is set the file may be gone, and nobody refers to it any more (`blob_removal`).
    """

    sha256 = models.CharField(primary_key=True, max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    stored_at = models.DateTimeField(default=timezone.now)
    removing_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(sha256__regex=r"^[0-9a-f]{64}$"), name="blob_sha256_is_hex")]
        indexes = [
            models.Index(fields=["stored_at"], name="blobs_by_age"),
            models.Index(fields=["removing_at"], condition=Q(removing_at__isnull=False), name="blobs_being_removed"),
        ]

    def __str__(self) -> str:
        return self.sha256


class BlobReference(models.Model):
    """An owner of a blob, by value: the apps to the right own rows that the kernel cannot point at."""

    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="references")
    owner_kind = models.CharField(max_length=32)
    owner_id = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner_kind", "owner_id", "blob"], name="one_reference_per_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.owner_kind} {self.owner_id}: {self.blob_id}"


def name_of(sha256: str) -> str:
    """The file's name in storage; two levels of folders keep directories small."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def store(bodies: Mapping[str, bytes]) -> None:
    """Puts bodies (SHA-256 → bytes) into storage and makes their rows. Call it outside any transaction.

    The row comes first: a file whose row were missing could never be found again for removal. Raises
    ServiceUnavailable where an old copy of a body is being removed and that does not end.
    """
    if not bodies:
        return
    _write_rows(bodies)
    removing = Blob.objects.filter(pk__in=list(bodies), removing_at__isnull=False)
    if removing.exists():
        _wait_for_removal(removing)
        _write_rows(bodies)
    for sha256, body in bodies.items():
        name = name_of(sha256)
        if not default_storage.exists(name):
            default_storage.save(name, ContentFile(body))


def _write_rows(bodies: Mapping[str, bytes]) -> None:
    Blob.objects.bulk_create(
        [Blob(sha256=sha256, size=len(body)) for sha256, body in bodies.items()],
        update_conflicts=True,
        update_fields=["stored_at"],
        unique_fields=["sha256"],
    )


def _wait_for_removal(removing: models.QuerySet[Blob]) -> None:
    end = time.monotonic() + REMOVAL_SECONDS
    while removing.all().exists():
        if time.monotonic() > end:
            raise ServiceUnavailable("An earlier copy of a file is being removed; try again.", retry_after=30)
        release_connection()
        time.sleep(LOOK_SECONDS)


def refer(owner_kind: str, owner_id: int, shas: Iterable[str]) -> None:
    """Makes the owner refer to stored blobs; call it in the transaction that writes the owner."""
    rows = [BlobReference(blob_id=sha256, owner_kind=owner_kind, owner_id=owner_id) for sha256 in shas]
    if rows:
        BlobReference.objects.bulk_create(rows, ignore_conflicts=True)


def forget(owner_kind: str, owner_ids: Iterable[int]) -> None:
    """Drops the references of owners that are being deleted, in the same transaction."""
    BlobReference.objects.filter(owner_kind=owner_kind, owner_id__in=list(owner_ids)).delete()


def read(sha256: str) -> bytes:
    """The body. Raises FileNotFoundError (or the storage's own error) where the file is gone."""
    with default_storage.open(name_of(sha256)) as file:
        body: bytes = file.read()
        return body


def open_owned(sha256: str) -> File:
    """The body's file, to be closed by the caller. Raises NotFound where nothing refers to it any more."""
    if BlobReference.objects.filter(blob=sha256).exists():
        with suppress(FileNotFoundError):
            opened: File = default_storage.open(name_of(sha256))
            return opened
    raise NotFound("This file is not there any more.")


def url(sha256: str, *, content_type: str, file_name: str) -> str:
    """An address that serves the blob for BLOB_URL_SECONDS without a token; give it only to who may read the blob.

    A storage that signs addresses itself has `signed_url(name, *, seconds, content_type, content_disposition)`; for any
    other this server serves the file.
    """
    name = blob_links.plain_name(file_name)
    if signed_url := getattr(default_storage, "signed_url", None):
        address: str = signed_url(
            name_of(sha256),
            seconds=settings.BLOB_URL_SECONDS,
            content_type=content_type,
            content_disposition=content_disposition_header(not is_shown(content_type), name),
        )
        return address
    return blob_links.make(sha256, content_type, name).url()


def is_shown(content_type: str) -> bool:
    """Whether a browser may show it; everything else is to be saved, since an HTML document may hold scripts."""
    return content_type.startswith("image/")

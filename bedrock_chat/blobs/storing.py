"""Bodies of images and documents: one file per content, named by its SHA-256, and who refers to it.

A blob is stored before the transaction that refers to it (`store`), since storage may be a network away; the reference
is written inside that transaction (`refer`). A blob that no reference names, whether its transaction failed or its
owner is gone, is garbage (`blob_removal`).

A file's name is never used again: what is uploaded after a removal gets another one (`generation`). So a removal can be
as late as it likes, and deletes nothing but the file that it was for.
"""

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.http import content_disposition_header

from bedrock_chat.blobs import links
from bedrock_chat.wire.errors import NotFound

UNFINISHED = ".upload-"
AT_A_TIME = 10_000  # parameters that a statement on SQLite surely takes


class LocalFiles(FileSystemStorage):
    """Files that are whole or absent: a process killed in mid-write leaves no half body under a blob's name."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: equal names are equal bytes, and of two who save them at once either may have written."""
        return name

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
                unfinished.unlink(missing_ok=True)
                raise
        return name

    def remove_unfinished(self, before: datetime) -> None:
        """Removes what processes that were killed in mid-write have left, if it is older than that."""
        for path in Path(self.location).rglob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):  # its upload has just ended
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()


def new_generation() -> str:
    return secrets.token_hex(8)


class Blob(models.Model):
    """A body in storage. `stored_at` moves on every upload of the same bytes, so that removal can keep its distance.

    `generation` ends the file's name, and is another one whenever the row is made anew; those of old have none.
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


def name_of(sha256: str, generation: str) -> str:
    """The file's name in storage; two levels of folders keep directories small."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}{generation and '-'}{generation}"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def store(bodies: Mapping[str, bytes]) -> None:
    """Puts bodies (SHA-256 → bytes) into storage and makes their rows. Call it outside any transaction.

    The row comes first: a file whose row were missing could never be found again for removal.
    """
    if not bodies:
        return
    # In one order, whatever that of the message: two who store the same files wait for each other's rows.
    rows = [Blob(sha256=sha256, size=len(bodies[sha256])) for sha256 in sorted(bodies)]
    with transaction.atomic():
        Blob.objects.bulk_create(rows, update_conflicts=True, update_fields=["stored_at"], unique_fields=["sha256"])
        names = locate(bodies)  # a row that was there has kept its generation
    for sha256, name in names.items():
        if not default_storage.exists(name):
            default_storage.save(name, ContentFile(bodies[sha256]))


def locate(shas: Iterable[str]) -> dict[str, str]:
    """SHA-256 → the file's name in storage, in one query (more for many thousands). What is not stored is left out."""
    names: dict[str, str] = {}
    wanted = list(shas)
    for start in range(0, len(wanted), AT_A_TIME):
        rows = Blob.objects.filter(pk__in=wanted[start : start + AT_A_TIME]).values_list("sha256", "generation")
        names |= {sha256: name_of(sha256, generation) for sha256, generation in rows}
    return names


def refer(owner_kind: str, owner_id: int, shas: Iterable[str]) -> None:
    """Makes the owner refer to stored blobs; call it in the transaction that writes the owner."""
    rows = [BlobReference(blob_id=sha256, owner_kind=owner_kind, owner_id=owner_id) for sha256 in shas]
    if rows:
        BlobReference.objects.bulk_create(rows, ignore_conflicts=True)


def forget(owner_kind: str, owner_ids: Iterable[int]) -> None:
    """Drops the references of owners that are being deleted, in the same transaction."""
    BlobReference.objects.filter(owner_kind=owner_kind, owner_id__in=list(owner_ids)).delete()


class Files:
    """Bodies of blobs, whose files are looked up together: say what you `expect`, in as few calls as you can."""

    def __init__(self) -> None:
        self._names: dict[str, str | None] = {}

    def expect(self, shas: Iterable[str]) -> None:
        """Looks files up, in one query for all that were not looked up before."""
        new = set(shas) - self._names.keys()
        self._names |= dict.fromkeys(new) | locate(new)

    def name(self, sha256: str) -> str | None:
        """The file's name in storage; None where the blob is gone."""
        self.expect([sha256])
        return self._names[sha256]

    def read(self, sha256: str) -> bytes:
        """The body. Raises FileNotFoundError (or the storage's own error) where it is gone."""
        name = self.name(sha256)
        if name is None:
            raise FileNotFoundError(sha256)
        with default_storage.open(name) as file:
            body: bytes = file.read()
            return body


def open_owned(sha256: str) -> File:
    """The body's file, to be closed by the caller. Raises NotFound where nothing refers to it any more."""
    owned = Blob.objects.filter(Exists(BlobReference.objects.filter(blob=OuterRef("pk"))), pk=sha256)
    for generation in owned.values_list("generation", flat=True):
        with suppress(FileNotFoundError):
            opened: File = default_storage.open(name_of(sha256, generation))
            return opened
    raise NotFound("This file is not there any more.")


def storage_signs() -> bool:
    """Whether addresses are the storage's own, which name its files, or this server's, which name blobs.

    A storage that signs has `signed_url(name, *, seconds, content_type, content_disposition)`.
    """
    return hasattr(default_storage, "signed_url")


def url(sha256: str, name: str | None, *, content_type: str, file_name: str) -> str:
    """An address that serves the blob for BLOB_URL_SECONDS without a token; give it only to who may read the blob.

    `name` is the file's, where the storage signs. Without it, as with any other storage, this server serves the file.
    """
    shown_name = links.plain_name(file_name)
    if name is not None and storage_signs():
        address: str = default_storage.signed_url(  # type: ignore[attr-defined]
            name,
            seconds=settings.BLOB_URL_SECONDS,
            content_type=content_type,
            content_disposition=content_disposition_header(not is_shown(content_type), shown_name),
        )
        return address
    return links.make(sha256, content_type, shown_name).url()


def is_shown(content_type: str) -> bool:
    """Whether a browser may show it; everything else is to be saved, since an HTML document may hold scripts."""
    return content_type.startswith("image/")

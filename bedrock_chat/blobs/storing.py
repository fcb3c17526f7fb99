"""Bodies of images and documents: one file per content, named by its SHA-256, and what refers to it.

A blob is stored before the transaction that refers to it (`store`), since storage may be a network away; the reference
is written inside that transaction (`refer`). A blob that no reference names, whether its transaction failed or its
owner is gone, is garbage (`removal`).

A file's name is never used again: what is uploaded after a removal gets another one (`generation`). So a removal
may come late, and still deletes no other file than the one it was meant for.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef, Sum

from bedrock_chat.blobs.models import Blob, BlobReference
from bedrock_chat.blobs.waiting_files import WaitingFile
from bedrock_chat.database.connections import release_connection
from bedrock_chat.wire.errors import NotFound

AT_A_TIME = 10_000  # a statement on SQLite surely takes so many parameters


def name_of(sha256: str, generation: str) -> str:
    """The file's name in storage; two levels of folders keep directories small."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}{generation and '-'}{generation}"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def store(bodies: Mapping[str, bytes]) -> None:
    """Puts bodies (SHA-256 → bytes) into storage and makes their rows. Call it outside any transaction.

    The row comes first: removal could never find a file that has no row.
    """
    if not bodies:
        return
    names = _begin({sha256: len(body) for sha256, body in bodies.items()})
    let_go_of_database()
    for sha256, name in names.items():
        if not default_storage.exists(name):
            default_storage.save(name, ContentFile(bodies[sha256]))


def store_waiting(files: Iterable[WaitingFile]) -> dict[WaitingFile, str]:
    """Makes blobs of files that wait, which stay there. Returns the SHA-256 of each. Call it outside any transaction.

    A file that is gone, or was replaced meanwhile, is left out.
    """
    storage: Any = default_storage
    shas: dict[WaitingFile, str] = {}
    let_go_of_database()
    for file in files:
        with suppress(FileNotFoundError):
            shas[file] = storage.sha256(file)
    names = _begin({sha256: file.size for file, sha256 in shas.items()}) if shas else {}
    let_go_of_database()
    stored: dict[WaitingFile, str] = {}
    for file, sha256 in shas.items():
        with suppress(FileNotFoundError):
            if not storage.exists(names[sha256]):
                storage.copy(file, names[sha256])
            stored[file] = sha256
    return stored


def _begin(sizes: Mapping[str, int]) -> dict[str, str]:
    """Makes the rows of blobs (SHA-256 → bytes) whose files are about to be written. Returns the files' names."""
    # Sorted: two uploads of the same files in different orders would wait for each other's rows.
    rows = [Blob(sha256=sha256, size=sizes[sha256]) for sha256 in sorted(sizes)]
    with transaction.atomic():
        Blob.objects.bulk_create(rows, update_conflicts=True, update_fields=["stored_at"], unique_fields=["sha256"])
        return locate(sizes)  # a row that existed has kept its generation


def locate(shas: Iterable[str]) -> dict[str, str]:
    """SHA-256 → the file's name in storage, in one query (more for many thousands). What is not stored is left out."""
    return {sha256: name for sha256, name, _ in _rows(shas)}


def _rows(shas: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """SHA-256, name in storage and size of those blobs that are stored."""
    wanted = list(shas)
    for start in range(0, len(wanted), AT_A_TIME):
        rows = Blob.objects.filter(pk__in=wanted[start : start + AT_A_TIME])
        for sha256, generation, size in rows.values_list("sha256", "generation", "size"):
            yield sha256, name_of(sha256, generation), size


def refer(owner_kind: str, owner_id: int, shas: Iterable[str]) -> None:
    """Makes the owner refer to stored blobs; call it in the transaction that writes the owner."""
    rows = [BlobReference(blob_id=sha256, owner_kind=owner_kind, owner_id=owner_id) for sha256 in shas]
    if rows:
        BlobReference.objects.bulk_create(rows, ignore_conflicts=True)


def refer_to_stored(owner_kind: str, owner_id: int, shas: Iterable[str]) -> None:
    """As `refer`, for blobs that may have been removed meanwhile: those are left out, and the others stay."""
    wanted = list(shas)
    if wanted:  # the locks keep a removal from coming between
        rows = Blob.objects.filter(pk__in=wanted).order_by("pk").select_for_update(no_key=True)
        refer(owner_kind, owner_id, list(rows.values_list("pk", flat=True)))


def refer_each(owner_kind: str, owners: Mapping[int, str]) -> None:
    """As `refer`, for many owners of one blob each."""
    rows = [BlobReference(blob_id=sha256, owner_kind=owner_kind, owner_id=pk) for pk, sha256 in owners.items()]
    BlobReference.objects.bulk_create(rows)


def forget(owner_kind: str, owner_ids: Iterable[int]) -> None:
    """Drops the references of owners that are being deleted, in the same transaction."""
    BlobReference.objects.filter(owner_kind=owner_kind, owner_id__in=list(owner_ids)).delete()


def size_of(owner_kind: str, owner_id: int) -> int:
    """Bytes of the files that an owner refers to, each once."""
    references = BlobReference.objects.filter(owner_kind=owner_kind, owner_id=owner_id)
    total: int = references.aggregate(total=Sum("blob__size", default=0))["total"]
    return total


class StoredFiles:
    """Reads bodies of blobs. Their files are looked up together: name them to `expect`, in as few calls as you can."""

    def __init__(self) -> None:
        self._names: dict[str, str | None] = {}
        self._sizes: dict[str, int] = {}

    def expect(self, shas: Iterable[str]) -> None:
        """Looks files up, in one query for all that were not looked up before."""
        new = set(shas) - self._names.keys()
        self._names |= dict.fromkeys(new)
        for sha256, name, size in _rows(new):
            self._names[sha256], self._sizes[sha256] = name, size

    def name(self, sha256: str) -> str | None:
        """The file's name in storage; None where the blob is gone."""
        self.expect([sha256])
        return self._names[sha256]

    def size(self, sha256: str) -> int:
        """The size in bytes, without reading the file; 0 where the blob is gone."""
        self.expect([sha256])
        return self._sizes.get(sha256, 0)

    def read(self, sha256: str) -> bytes:
        """The body. Raises FileNotFoundError (or the storage's own error) where it is gone."""
        name = self.name(sha256)
        if name is None:
            raise FileNotFoundError(sha256)
        with default_storage.open(name) as file:
            body: bytes = file.read()
            return body


def open_owned(sha256: str) -> File:
    """The body's file, to be closed by the caller. Raises NotFound if nothing refers to it any more, or it is lost."""
    owned = Blob.objects.filter(Exists(BlobReference.objects.filter(blob=OuterRef("pk"))), pk=sha256)
    for generation in owned.values_list("generation", flat=True):
        with suppress(FileNotFoundError):
            opened: File = default_storage.open(name_of(sha256, generation))
            return opened
    raise NotFound("This file is not there any more.")


def let_go_of_database() -> None:
    """Before storage is asked: one on another machine may be slow, and no connection is held meanwhile."""
    if storage_folder() is None:
        release_connection()


def ask_storage() -> None:
    """Asks a storage on another machine whether it is there. Raises whatever is wrong with it."""
    if probe := getattr(default_storage, "probe", None):
        probe()


def storage_folder() -> Path | None:
    """Where the files are on this machine. None for a storage on another one."""
    location = getattr(default_storage, "location", None)
    return None if location is None else Path(location)

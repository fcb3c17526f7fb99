"""Files that were uploaded and that nothing keeps yet: each waits in its owner's place, for a day at most.

1. An upload puts a file there, over an earlier one of the same name (`upload_links`).
2. `keep` makes a blob of it. Only then a transaction refers to that blob.
3. `discard` removes it from the place once that transaction is committed.

A process may be killed between any of these: what waits can be kept again, a blob that nothing refers to is garbage,
and what is still in the place after a day is removed by a job. Names in storage are digests: nothing that a client
sends is part of a path.
"""

import hashlib
import logging
from collections.abc import Collection
from datetime import timedelta

import botocore.exceptions
import orjson
from django.conf import settings
from django.core.files.storage import default_storage

from bedrock_chat.blobs import storing
from bedrock_chat.blobs.models import UsedUploadLink
from bedrock_chat.blobs.waiting_files import WaitingFile
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.wire.errors import PayloadTooLarge, ServiceUnavailable

logger = logging.getLogger(__name__)

FOLDER = "uploads"
KEPT = timedelta(days=1)
MEGABYTE = 1024 * 1024


def name_of(account: str, *labels: str) -> str:
    """The name in storage of what an account uploads under these labels."""
    return f"{_prefix(account)}{hashlib.sha256(orjson.dumps(labels)).hexdigest()}"


def find(name: str) -> WaitingFile | None:
    """What waits under this name. Raises StorageUnavailable."""
    storing.let_go_of_database()
    waiting: WaitingFile | None = default_storage.look(name)  # type: ignore[attr-defined]  # our storages have it
    return waiting


def find_all(account: str, names: Collection[str]) -> dict[str, WaitingFile]:
    """What waits under these names of an account's, by name. Raises StorageUnavailable."""
    storing.let_go_of_database()
    waiting: dict[str, WaitingFile] = default_storage.look_all(_prefix(account), names)  # type: ignore[attr-defined]
    return waiting


def keep(files: Collection[WaitingFile]) -> dict[WaitingFile, str]:
    """Makes blobs of what waits, and leaves it where it is. Returns the SHA-256 of each.

    What was taken or replaced meanwhile is left out. Call it outside any transaction. Raises PayloadTooLarge and
    StorageUnavailable.
    """
    if any(file.size > settings.UPLOAD_MB * MEGABYTE for file in files):
        raise PayloadTooLarge(f"An uploaded file is larger than {settings.UPLOAD_MB} MB.")
    return storing.store_waiting(files)


def discard(waiting: WaitingFile) -> None:
    """Removes what was kept, and not what was uploaded since. What cannot be removed now is removed by the job."""
    try:
        if find(waiting.name) == waiting:
            default_storage.delete(waiting.name)
    except (ServiceUnavailable, OSError, botocore.exceptions.ClientError) as error:
        logger.warning("an uploaded file that was kept stays in its place for now: %s", error)


def remove(name: str) -> None:
    """Removes what waits under this name, if anything does. Raises StorageUnavailable."""
    storing.let_go_of_database()
    default_storage.delete(name)


def remove_all(account: str) -> int:
    """Removes what an account has uploaded and not kept. Returns how many files. Raises StorageUnavailable."""
    storing.let_go_of_database()
    names = [waiting.name for waiting, _ in default_storage.waiting(_prefix(account))]  # type: ignore[attr-defined]
    for name in names:
        default_storage.delete(name)
    return len(names)


def remove_unclaimed(job: Claimed) -> None:
    """The periodic job: removes what nobody kept within a day. Raises LeaseLost."""
    cutoff = database_now() - KEPT
    UsedUploadLink.objects.filter(used_at__lt=cutoff).delete()
    storing.let_go_of_database()
    for waiting, uploaded_at in default_storage.waiting(f"{FOLDER}/"):  # type: ignore[attr-defined]
        if uploaded_at < cutoff:
            job.check()
            if find(waiting.name) == waiting:  # the list is of a while ago, and another file may wait there since
                default_storage.delete(waiting.name)


def _prefix(account: str) -> str:
    return f"{FOLDER}/{hashlib.sha256(account.encode()).hexdigest()[:32]}-"

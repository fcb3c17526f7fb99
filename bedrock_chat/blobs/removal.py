"""Removes bodies that nothing refers to, at least BLOB_GRACE_SECONDS after they were last uploaded.

The same bytes may be uploaded and removed at the same time. So removal takes two steps:

1. One transaction checks the age and the references of a blob, deletes its row, and notes its file's name. From then on
   an upload of the same bytes makes a new row and another file.
2. Whichever worker finds the note deletes the file, outside any transaction. It may be late and do so more than once:
   nothing is ever stored under that name again.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Exists, OuterRef

from bedrock_chat.blobs.models import Blob, BlobReference, BlobRemoval
from bedrock_chat.blobs.storing import name_of
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.jobs.queue import Claimed

AT_A_TIME = 100


def remove_unreferenced(job: Claimed) -> None:
    """The periodic job. Raises LeaseLost if another worker has taken it over, so that the work is not done twice."""
    cutoff = database_now() - timedelta(seconds=settings.BLOB_GRACE_SECONDS)
    while True:
        job.check()
        names = list(BlobRemoval.objects.values_list("pk", flat=True)[:AT_A_TIME])
        if not names:
            if not _forget(cutoff):
                break
            continue
        release_connection()  # storage may be a network away
        for name in names:
            default_storage.delete(name)
        BlobRemoval.objects.filter(pk__in=names).delete()
    if remove_unfinished := getattr(default_storage, "remove_unfinished", None):
        remove_unfinished(cutoff)


@transaction.atomic
def _forget(cutoff: datetime) -> int:
    """Replaces up to AT_A_TIME old blobs that nothing refers to by notes of their files. Returns their number."""
    unreferenced = Blob.objects.filter(stored_at__lt=cutoff).filter(
        ~Exists(BlobReference.objects.filter(blob=OuterRef("pk")))
    )
    # Rows that are locked are being uploaded: skip them. An upload that comes later waits for our lock, finds no row
    # and makes another one. A reference that follows its upload later than the grace is refused by the database.
    locked = unreferenced.order_by("stored_at").select_for_update(skip_locked=True)
    keys = list(locked.values_list("pk", flat=True)[:AT_A_TIME])
    # Check again, now that the rows are locked: a reference may have been added just before.
    rows = list(unreferenced.filter(pk__in=keys).values_list("pk", "generation"))
    BlobRemoval.objects.bulk_create([BlobRemoval(name=name_of(*row)) for row in rows])
    Blob.objects.filter(pk__in=[sha256 for sha256, _ in rows]).delete()
    return len(rows)

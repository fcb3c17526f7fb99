"""Removing bodies that nobody refers to, a while after they were last uploaded.

Upload and removal of the same bytes may meet. The blob goes first: one transaction looks at its age and its references,
deletes its row and notes its file's name. From then on an upload of the same bytes makes a new row and another file.
The file is deleted outside any transaction, by whoever finds the note, however late and however often: nothing will
ever be stored under that name again.
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
    """The periodic job. Raises LeaseLost where another worker has taken over, and the work would be done twice."""
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
    """Turns some blobs that are old and that nobody refers to into files to be deleted; gives their number."""
    forgotten = Blob.objects.filter(stored_at__lt=cutoff).filter(
        ~Exists(BlobReference.objects.filter(blob=OuterRef("pk")))
    )
    # A row that is locked is being uploaded. Who comes later waits and finds none: an upload makes another one, and a
    # reference that took longer than the grace to follow its upload is refused by the database.
    locked = forgotten.order_by("stored_at").select_for_update(skip_locked=True)
    chosen = list(locked.values_list("pk", flat=True)[:AT_A_TIME])
    # Once more, now that nothing can come between: one may have been referred to just before it was locked.
    rows = list(forgotten.filter(pk__in=chosen).values_list("pk", "generation"))
    BlobRemoval.objects.bulk_create([BlobRemoval(name=name_of(*row)) for row in rows])
    Blob.objects.filter(pk__in=[sha256 for sha256, _ in rows]).delete()
    return len(rows)

"""Removing bodies that nobody refers to, a while after they were last uploaded.

Upload and removal of the same bytes may meet. A blob is marked first, by one statement that looks at its age and its
references, then its file goes, then its row. An upload that came before the mark has made the blob young again, so that
it is not marked; one that comes after it waits until the row is gone (`blobs.store`) and begins anew. A removal that
was cut short is taken up by the next one.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db.models import Exists, OuterRef

from bedrock_chat.blobs import Blob, BlobReference, name_of
from bedrock_chat.database import database_now, release_connection
from bedrock_chat.jobs.queue import Claimed

AT_A_TIME = 100


def remove_unreferenced(job: Claimed) -> None:
    """The periodic job. Raises LeaseLost where another worker has taken over: two must not remove side by side."""
    now = database_now()
    cutoff = now - timedelta(seconds=settings.BLOB_GRACE_SECONDS)
    while True:
        marked = _marked_before() or _mark(now, cutoff)
        if not marked:
            break
        job.check()
        release_connection()  # storage may be a network away
        for sha256 in marked:
            default_storage.delete(name_of(sha256))
        Blob.objects.filter(pk__in=marked, removing_at__isnull=False).delete()
    if remove_unfinished := getattr(default_storage, "remove_unfinished", None):
        remove_unfinished(cutoff)


def _marked_before() -> list[str]:
    return list(Blob.objects.filter(removing_at__isnull=False).values_list("pk", flat=True)[:AT_A_TIME])


def _mark(now: datetime, cutoff: datetime) -> list[str]:
    """Marks some blobs for removal. The condition is looked at again by the statement that marks them."""
    forgotten = Blob.objects.filter(removing_at__isnull=True, stored_at__lt=cutoff).filter(
        ~Exists(BlobReference.objects.filter(blob=OuterRef("pk")))
    )
    chosen = list(forgotten.order_by("stored_at").values_list("pk", flat=True)[:AT_A_TIME])
    if not chosen or not forgotten.filter(pk__in=chosen).update(removing_at=now):
        return []
    return list(Blob.objects.filter(pk__in=chosen, removing_at=now).values_list("pk", flat=True))

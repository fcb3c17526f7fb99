"""Removing idempotency keys with the answers that were kept: after their time, beyond their number, with their API."""

from collections.abc import Callable, Iterator

from django.conf import settings
from django.db import transaction
from django.db.models import Count, QuerySet, Sum

from bedrock_chat.database.connections import database_now, yield_sqlite_lock
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed
from publication.idempotency.claiming import KEPT
from publication.models import IdempotencyKey, Publication

KIND = "remove idempotency keys"
AT_A_TIME = 500
MEGABYTE = 1024 * 1024

Rows = QuerySet[IdempotencyKey]


def remove(job: Claimed) -> None:
    """The periodic job: removes keys after KEPT, those of APIs that were withdrawn, and of each lineage the oldest ones
    that are too many. Raises LeaseLost.
    """
    rows = IdempotencyKey.objects.all()
    for _ in delete_in_batches(rows.filter(claimed_at__lte=database_now() - KEPT)):
        job.check()
    published = set(Publication.objects.values_list("pk", flat=True))
    of_lineages = rows.values_list("publication_id", "lineage").annotate(Count("pk"), Sum("size")).order_by()
    for publication_id, lineage, count, size in list(of_lineages):
        own = rows.filter(lineage=lineage)
        if publication_id not in published:
            for _ in delete_in_batches(own):
                job.check()
        elif count > settings.IDEMPOTENCY_KEYS or size > settings.IDEMPOTENCY_MB * MEGABYTE:
            too_many = _too_many(own.filter(lease_expires_at__isnull=True))
            for start in range(0, len(too_many), AT_A_TIME):
                job.check()
                with yield_sqlite_lock():
                    own.filter(pk__in=too_many[start : start + AT_A_TIME], lease_expires_at__isnull=True).delete()


def soon(publication_id: str) -> None:
    """Has the job run at once, if there is something to remove, when the transaction that withdraws an API commits."""
    if IdempotencyKey.objects.filter(publication_id=publication_id).exists():
        queue.enqueue_now(KIND, {}, key=f"every:{KIND}")


def delete_in_batches(rows: Rows, *, before_each: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Deletes them in short transactions. Yields how many, after each; others can write in between.

    `before_each` is called first in each transaction, and may raise: then no more are deleted.
    """
    last = 0
    while True:
        with yield_sqlite_lock(), transaction.atomic():
            before_each()
            after = rows.filter(pk__gt=last).order_by("pk")  # PostgreSQL would pass what was deleted again and again
            some = list(after.select_for_update().values_list("pk", flat=True)[:AT_A_TIME])
            IdempotencyKey.objects.filter(pk__in=some).delete()
        if not some:
            return
        last = some[-1]
        yield len(some)


def _too_many(rows: Rows) -> list[int]:
    """The keys of the rows beyond what a lineage may have: the oldest give way."""
    kept = size = 0
    too_many = []
    for pk, own in rows.order_by("-claimed_at", "-pk").values_list("pk", "size").iterator(AT_A_TIME):
        kept, size = kept + 1, size + own
        if kept > settings.IDEMPOTENCY_KEYS or size > settings.IDEMPOTENCY_MB * MEGABYTE:
            too_many.append(pk)
    return too_many

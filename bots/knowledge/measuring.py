"""Syncs in the metrics: what became of documents, and how long the steps on their way took.

Throttles of embeddings models are among those of all models, and the bits in memory among the figures of the search.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from django.db.models import Count

from bedrock_chat.metrics.figures import Figures
from bedrock_chat.metrics.instruments import LONG_SECONDS, Counter, Figure, Histogram
from bots.knowledge.models import Knowledge
from bots.knowledge.states import Blame
from bots.models import SyncStatus

Outcome = Literal["unchanged", "read", "shown", "failed", "skipped"]
Step = Literal["fetch", "read", "cut", "embed", "show"]

DOCUMENTS: Final = Counter(
    "bedrock_chat_knowledge_documents_total",
    "Documents of bots that syncs have looked at: unchanged, read, shown (found from then on), failed, skipped.",
    ("outcome",),
)
SECONDS: Final = Histogram(
    "bedrock_chat_knowledge_step_seconds",
    "What the steps of a document took: fetch, read, cut, embed (a batch of texts), show.",
    ("step",),
    buckets=LONG_SECONDS,
)
FAILED: Final = Figure(
    "bedrock_chat_knowledge_failed_syncs",
    "Bots whose last sync has failed, by whose fault it is: operator (this server, a model, a bucket), owner, source.",
    ("blame",),
)


def figures() -> Figures:
    """One statement, on the index of failed syncs."""
    failed = Knowledge.objects.filter(sync_status=SyncStatus.FAILED, bot__isnull=False).order_by()
    counts = dict(failed.values_list("blame").annotate(number=Count("pk")))
    return {FAILED: {(blame.value,): float(counts.get(blame, 0)) for blame in Blame}}


def count(outcome: Outcome) -> None:
    DOCUMENTS.add(outcome)


@contextmanager
def measured(step: Step) -> Iterator[None]:
    """Times a step that comes to its end, also in a refusal."""
    began = time.monotonic()
    try:
        yield
    finally:
        SECONDS.observe(time.monotonic() - began, step)

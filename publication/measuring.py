"""Accepted questions in the metrics."""

from django.db.models import Count, Min

from bedrock_chat.database.connections import database_now
from bedrock_chat.metrics.figures import Figures
from bedrock_chat.metrics.instruments import Figure
from publication.models import TurnRequest

UNDONE = Figure(
    "bedrock_chat_published_turns_undone", "Questions that published APIs have accepted, and whose turns are not over."
)
OLDEST = Figure(
    "bedrock_chat_published_turns_oldest_age_seconds", "How long ago the oldest such question was accepted."
)


def figures() -> Figures:
    """One statement, on the index of the turns that are not done."""
    undone = TurnRequest.objects.filter(done_at__isnull=True)
    row = undone.aggregate(count=Count("pk"), oldest=Min("accepted_at"))
    age = (database_now() - row["oldest"]).total_seconds() if row["oldest"] else 0.0
    return {UNDONE: {(): float(row["count"])}, OLDEST: {(): max(0.0, age)}}

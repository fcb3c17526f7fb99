"""The dearest of some rows, which are known here by their ids alone."""

from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from django.db.models import Model, QuerySet

from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger import zones
from bedrock_chat.ledger.rollups import reading
from bedrock_chat.ledger.rollups.figures import dearest_first
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.ledger.zones import Span

Row = TypeVar("Row", bound=Model)

AT_A_TIME: Final = 500


def span_of(hours: tuple[datetime, datetime] | None, *, days: int = 1) -> Span:
    """The span of a first and a last hour of the setting REPORT_TIME_ZONE; None: so many days, the last one today."""
    if hours is not None:
        return zones.hours(*hours)
    today = zones.day_of(database_now())
    return zones.days(today - (days - 1) * zones.DAY, today)


def dearest(
    rows: "QuerySet[Row]", *, by: Dimension, hours: tuple[datetime, datetime] | None, limit: int
) -> list[tuple[Row, Decimal]]:
    """Those of some rows that were used in a span, with what they cost in USD: the dearest first, then by id.

    Their keys are values of the dimension. Values without a row are left out.
    """
    ranked = dearest_first(reading.usage(span_of(hours), by=by, with_faults=False))
    chosen: list[tuple[Row, Decimal]] = []
    for first in range(0, len(ranked), AT_A_TIME):
        if len(chosen) >= limit:
            break
        some = ranked[first : first + AT_A_TIME]
        existing = rows.in_bulk([value for value, _ in some])
        chosen += [(existing[value], figures.price) for value, figures in some if value in existing]
    return chosen[:limit]

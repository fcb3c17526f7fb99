"""Calls that end after their quarter hour, so that its sums are made again."""

from datetime import timedelta
from typing import Final

from django.utils import timezone

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups.models import LateEnd
from bedrock_chat.ledger.zones import QUARTER, quarter_of

WAIT: Final = timedelta(minutes=10)
"""After its end a quarter hour waits so long for rows that are still being written, before its sums are made."""
MARGIN: Final = WAIT / 2
"""By so much clocks may differ, and so long a transaction may take. (AWS refuses a clock that is five minutes off.)"""


def note(batch: Batch, call: ModelCall) -> None:
    """For who changes the row of a call, in that transaction. One statement, if its sums may be made by then."""
    start = quarter_of(call.created_at)
    if timezone.now() >= start + QUARTER + WAIT - MARGIN:
        batch.insert(LateEnd(start=start))

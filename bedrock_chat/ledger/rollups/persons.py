"""Sums when a person is erased: they stay, under the id that the ledger has in place of theirs."""

from bedrock_chat.ledger.rollups.making import progress_locked
from bedrock_chat.ledger.rollups.models import (
    DayUsage,
    Dimension,
    DimensionFault,
    DimensionUsage,
    QuarterUsage,
    Refusal,
)


def rename(user_id: str, nameless: str) -> None:
    """Puts another id in place of a user's, in the transaction that does it in the ledger.

    Whoever makes sums waits meanwhile, and so does this for them: no sum is made of the rows as they were.
    """
    with progress_locked():
        for sums in (QuarterUsage, DayUsage):
            # Where a user asked, the same user paid.
            sums.objects.filter(payer_id=user_id, user_id=user_id).update(payer_id=nameless, user_id=nameless)
            sums.objects.filter(payer_id=user_id).update(payer_id=nameless)
        for by_dimension in (DimensionUsage, DimensionFault):
            by_dimension.objects.filter(dimension=Dimension.USER, value=user_id).update(value=nameless)
        Refusal.objects.filter(payer_id=user_id).update(payer_id=nameless)

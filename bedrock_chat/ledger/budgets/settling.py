"""Settling calls: what they used is counted, and what they reserved is given back, in the ledger's own transaction."""

from collections.abc import Sequence

from django.utils import timezone

from bedrock_chat.database.compiled_sql import Batch, Rows, Statement
from bedrock_chat.ledger.budgets import alerting, expiring, payers, periods, statements
from bedrock_chat.ledger.budgets.amounts import Amount
from bedrock_chat.ledger.budgets.expiring import NOTHING
from bedrock_chat.ledger.budgets.payers import Payer
from bedrock_chat.ledger.budgets.reserving import Reserved
from bedrock_chat.ledger.budgets.statements import Spans
from bedrock_chat.ledger.models import ModelCall

Deleted = Statement[Rows] | None


def delete(batch: Batch, reservation: Reserved | None) -> Deleted:
    """Deletes a reservation: its call is over. The counters get it back by `settle`, in the same transaction."""
    if reservation is None:
        return None
    return statements.delete_reservation(batch, reservation.pk)


def counts(calls: Sequence[ModelCall], reservation: Reserved | None) -> bool:
    """Whether `settle` has anything to do."""
    return reservation is not None or any(payers.with_budgets(call.payers) for call in calls)


def settle(calls: Sequence[ModelCall], reservation: Reserved | None, deleted: Deleted) -> None:
    """Counts what the calls used, in the transaction that inserts their rows, and gives back what was reserved.

    A call counts for the periods that its row's time lies in, as in the ledger; they may be others than those that were
    reserved. It counts for every budget that there is by now, reserved or not.
    """
    reserved_of, taken = _returned(deleted)
    for of, spans, used in _charges(calls):
        labels = tuple(span.label for span in spans.values())
        with Batch() as batch:
            if reservation is None or labels != reservation.labels:
                statements.make_missing(batch, of, spans)
            settled = statements.settle(batch, of, spans, used, reserved_of, taken)
        alerting.note(statements.counted(settled.result))
        reserved_of, taken = [], NOTHING
    if reserved_of:
        with Batch() as batch:
            statements.settle(batch, (), periods.present(timezone.now()), NOTHING, reserved_of, taken)


def _returned(deleted: Deleted) -> tuple[list[int], Amount]:
    """Counters, and what is given back to each. Nothing, if the reservation expired and somebody gave it back."""
    if deleted is None or not deleted.result:
        return [], NOTHING
    [(counters, usd, tokens)] = deleted.result
    return expiring.keys_of(counters), Amount(usd, tokens)


def _charges(calls: Sequence[ModelCall]) -> list[tuple[list[Payer], Spans, Amount]]:
    """What the calls used, for each of the days that they ended on. Nothing where nobody has a budget."""
    charges: dict[tuple[Payer, ...], dict[str, tuple[Spans, Amount]]] = {}
    for call in calls:
        of = tuple(payers.with_budgets(call.payers))
        if not of:
            continue
        spans, amount = periods.present(call.created_at), _amount(call)
        day = next(iter(spans.values())).label
        earlier = charges.setdefault(of, {}).get(day, (spans, NOTHING))[1]
        charges[of][day] = spans, Amount(earlier.usd + amount.usd, earlier.tokens + amount.tokens)
    return [(list(of), *charge) for of, by_day in charges.items() for charge in by_day.values()]


def _amount(call: ModelCall) -> Amount:
    """What a call used, without what its row has said since it began: less than nothing where that was too much."""
    amount = Amount.of(call)
    if call.begun_row is None:
        return amount
    counted = Amount.of(call.begun_row)
    return Amount(amount.usd - counted.usd, amount.tokens - counted.tokens)

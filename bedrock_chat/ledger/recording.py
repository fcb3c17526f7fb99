"""Writing the ledger: the row of a call is built when the call ends, and inserted when its turn is closed.

A call that is made again when its process dies has its row before it begins (`begin`): each attempt was paid.
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from django.db import transaction
from django.utils import timezone

from bedrock_chat import logs
from bedrock_chat.bedrock import estimates, offering, pricing
from bedrock_chat.bedrock.events import Closed
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.bedrock.shapes import ConverseBlock
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.instances import new_row
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.budgets import settling
from bedrock_chat.ledger.budgets.payers import payers_of
from bedrock_chat.ledger.budgets.reserving import Reserved
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.ledger.rollups import late
from bedrock_chat.metrics.instruments import Counter
from bedrock_chat.wire.ids import new_id

logger = logging.getLogger(__name__)

TOKENS = Counter(
    "bedrock_chat_model_tokens_total",
    "Tokens of calls to models: input, output, cache_read, cache_write.",
    ("model", "kind"),
)
PRICE = Counter("bedrock_chat_model_price_usd_total", "What calls to models cost, as far as it is known.", ("model",))
UNPRICED = Counter("bedrock_chat_model_unpriced_calls_total", "Calls with tokens whose price is not known.", ("model",))


def build_call(
    actor: Caller,
    request: ModelRequest,
    *,
    purpose: Purpose,
    conversation_external_id: str,
    closed: Closed | None,
    latency_ms: int,
    message_external_id: str = "",
    turn_id: str | None = None,
    bot_id: str | None = None,
    fault: str = "",
    stop_reason: str = "",
    generated: Sequence[ConverseBlock] | None = None,
) -> ModelCall:
    """The unsaved row of one call. Without `closed` the call did not come to its end.

    `generated` are the Converse blocks that came. Where Bedrock sent no usage, it is estimated from them, since they
    are billed all the same. None: nothing was generated, which costs nothing.
    """
    prices = offering.price_row(request.model, request.target)
    usage = closed.usage if closed else None
    estimated = usage is None and generated is not None
    if usage is None and generated is not None:
        usage = estimates.usage(request, generated)
    call = row_of(
        actor,
        purpose=purpose,
        bot_id=bot_id,
        conversation_external_id=conversation_external_id,
        message_external_id=message_external_id,
        turn_id=turn_id,
        model=request.model.key,
        model_id=request.target.model_id,
        region=request.target.region,
        input_price=prices.input,
        output_price=prices.output,
        cache_read_price=prices.cache_read,
        cache_write_price=prices.cache_write,
        latency_ms=closed.latency_ms if closed else latency_ms,
        first_token_ms=closed.first_token_ms if closed else None,
        stop_reason=(closed.stop_reason if closed else stop_reason)[:64],
        fault=fault[:64],
        estimated=estimated,
    )
    if usage is not None:
        call.input_tokens = usage.input_tokens
        call.output_tokens = usage.output_tokens
        call.cache_read_tokens = usage.cache_read_tokens
        call.cache_write_tokens = usage.cache_write_tokens
        call.price = pricing.price(usage, prices)
    return call


def row_of(actor: Caller, *, bot_id: str | None, **columns: Any) -> ModelCall:
    """The unsaved row of one call or several: who asked and who pays. `columns` say what was called for what."""
    call = new_row(
        ModelCall,
        created_at=timezone.now(),
        user_id=actor.user_id,
        payer_id=actor.payer_id,
        user_label=actor.published.user_label if actor.published else "",
        publication_id=actor.publication_id,
        key_id=actor.key_id,
        groups=sorted(actor.payer_groups),
        bot_id=bot_id,
        **columns,
    )
    call.payers = payers_of(actor, bot_id)
    return call


PROCESS_LOST = "ProcessLost"
"""The fault of a call whose process did not live to its end, or which has not ended yet."""


def begin(call: ModelCall) -> ModelCall:
    """Inserts the row of a call that is about to be made, and which stays like that if this process dies.

    Where a budget counts, what the row says is counted with it: so budgets agree with the ledger also then, and the end
    counts the rest. Returns the row, for `ended`.
    """
    if not settling.counts([call], None):
        compiled_sql.insert(call)
        return call
    with transaction.atomic():
        compiled_sql.insert(call)
        settling.settle([call], None, None)
    return call


def ended(call: ModelCall, begun: ModelCall) -> None:
    """The call is the one whose row was inserted when it began; `insert` will update that row."""
    call.pk, call.created_at, call.is_begun, call.begun_row = begun.pk, begun.created_at, True, begun


def insert(batch: Batch, calls: Sequence[ModelCall]) -> None:
    """Inserts the rows of calls in the caller's transaction, normally the one that closes their turn.

    Rows that were inserted when their calls began get what became of the calls. Whom they name stays: whoever pays may
    have been erased meanwhile. Raises ValueError for a row that stands for no call.
    """
    if any(call.number_of_calls < 1 for call in calls):
        raise ValueError("A row of the ledger stands for at least one call.")
    for call in calls:
        if call.is_begun:
            batch.update(ModelCall, {"id": call.pk}, **{name: getattr(call, name) for name in _OF_THE_END})
            late.note(batch, call)
        else:
            batch.insert(call)


_OF_THE_END = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "price",
    "first_token_ms",
    "latency_ms",
    "stop_reason",
    "fault",
    "estimated",
)
"""What is known of a call when it has ended."""


def insert_late(calls: Sequence[ModelCall], reservation: Reserved | None = None) -> None:
    """Inserts the rows of calls in a transaction of their own: the money was spent, whatever became of the answer.

    They are settled in it (`settling`). Whoever pays may have been erased meanwhile: the rows then name nobody. A
    transaction that seemed to fail may have been committed, if the connection broke at its very end. The rows that it
    wrote are not written twice.
    """
    if all(call.is_begun for call in calls):
        with transaction.atomic() if settling.counts(calls, reservation) else nullcontext():
            end(calls, reservation)
        return
    with transaction.atomic():
        calls = [call for call in calls if not _is_stored(call)]
        for call in calls:
            payer = User.objects.select_for_update().filter(pk=call.payer_id).values_list("pk")
            if call.payer_id is not None and not list(payer):
                call.payer_id, call.user_label = erased_id(), ""
                call.user_id = None if call.user_id is None else call.payer_id
        with Batch() as batch:
            insert(batch, calls)
            deleted = settling.delete(batch, reservation)
        settling.settle(calls, reservation, deleted)


def end(calls: Sequence[ModelCall], reservation: Reserved | None = None) -> None:
    """Writes what became of calls whose rows were inserted when they began, in one round trip, and settles them.

    Where a budget counts, a transaction is around it. No lock is needed. Who is erased from now on is taken out of
    those rows by the erasure. Who was erased before a row was inserted is taken out here.
    """
    with Batch() as batch:
        payers = [batch.get(User, {"id": call.payer_id}) for call in calls]
        insert(batch, calls)
        deleted = settling.delete(batch, reservation)
    for call, payer in zip(calls, payers, strict=True):
        if call.payer_id is not None and payer.result is None:
            nobody = erased_id()
            user_id = None if call.user_id is None else nobody
            compiled_sql.update(ModelCall, {"id": call.pk}, payer_id=nobody, user_id=user_id, user_label="")
    settling.settle(calls, reservation, deleted)


def log_lost(turn_id: str, calls: Sequence[ModelCall], error: Exception) -> None:
    """Says in the log what was spent, where an error keeps the rows from being written."""
    spent = [(call.model_id, call.input_tokens, call.output_tokens, str(call.price)) for call in calls]
    logger.error("the ledger lost the calls of turn %s: %s", turn_id, spent, exc_info=error)


def _is_stored(call: ModelCall) -> bool:
    was_tried = call.pk is not None and call.turn_id is not None and not call.is_begun
    return was_tried and ModelCall.objects.filter(pk=call.pk, turn_id=call.turn_id).exists()


def erased_id() -> str:
    """A new id in place of an erased user's. The sums stay right, and nobody is named."""
    return f"erased:{new_id()}"


def calls_of_newest_turn(actor: Caller, conversation_external_id: str, question_external_id: str) -> list[ModelCall]:
    """The calls of the newest turn of a question, in their order. One query.

    The newest is the one that was opened last: a turn that another one has taken over writes its rows after that one.
    """
    where = {
        "conversation_external_id": conversation_external_id,
        "message_external_id": question_external_id,
        "purpose__in": [Purpose.TURN, Purpose.EMBEDDING],
    }
    rows = ModelCall.objects.filter(user_id=actor.user_id, publication_id=actor.publication_id, **where)
    calls = list(rows.order_by("pk"))
    newest_turn = max((call.turn_id for call in calls if call.turn_id), default=None)  # such ids order by time
    # A row without a turn's id is older than those ids, and stands for a turn of its own.
    return [call for call in calls if call.turn_id == newest_turn] if newest_turn else calls[-1:]


@dataclass(frozen=True, slots=True)
class Spent:
    """The tokens and the price of several calls together. `price` is USD, None where one of them is unpriced.

    The tokens are those of the turn's rounds alone. What its tools have asked models is in the price.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    price: Decimal | None
    estimated: bool

    @classmethod
    def of(cls, calls: Sequence[ModelCall]) -> Self | None:
        """The sums over some calls; None where there was no call."""
        if not calls:
            return None
        prices = [call.price for call in calls if call.price is not None]
        rounds = [call for call in calls if call.purpose != Purpose.EMBEDDING]
        return cls(
            input_tokens=sum(call.input_tokens for call in rounds),
            output_tokens=sum(call.output_tokens for call in rounds),
            cache_read_tokens=sum(call.cache_read_tokens for call in rounds),
            cache_write_tokens=sum(call.cache_write_tokens for call in rounds),
            price=sum(prices, Decimal(0)) if len(prices) == len(calls) else None,
            estimated=any(call.estimated for call in rounds),
        )


def log_spending(calls: Sequence[ModelCall]) -> None:
    """Tells what calls that have ended took: in the request's line of the log, and in the metrics."""
    for call in calls:
        count_spending(call)
    spent = Spent.of(calls)
    if spent is not None:
        logs.bind(
            model=calls[-1].model,
            input_tokens=spent.input_tokens,
            output_tokens=spent.output_tokens,
            price=None if spent.price is None else float(spent.price),
            fault=calls[-1].fault or None,
        )


def count_spending(call: ModelCall) -> None:
    """Tells the metrics what a call that has ended took."""
    for kind in ("input", "output", "cache_read", "cache_write"):
        if tokens := getattr(call, f"{kind}_tokens"):
            TOKENS.add(call.model, kind, amount=tokens)
    if call.price is not None:
        PRICE.add(call.model, amount=float(call.price))
    elif call.input_tokens or call.output_tokens:
        UNPRICED.add(call.model, amount=call.number_of_calls)

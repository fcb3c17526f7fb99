"""Calls that embed texts in the ledger: what they may cost is reserved before, their row is built when they have ended.

    reservation = embedding_calls.reserve(actor, model, texts, bot_id=bot_id)
    with expiring.kept(reservation.pk if reservation else None):
        embedded = embeddings.embed_documents(model, texts, ...)
    call = embedding_calls.build(actor, model, embedded, bot_id=bot_id)
    with transaction.atomic():
        ...  # the vectors
        embedding_calls.write(call, reservation)

A question's call is written by `recording.insert_late([call], reservation)`, or with the other calls of its turn.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from django.utils import timezone

from bedrock_chat.bedrock import embeddings, offering, pricing
from bedrock_chat.bedrock.embedding_models import EmbeddingModel
from bedrock_chat.bedrock.embeddings import Embedded
from bedrock_chat.bedrock.events import Usage
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger import erased_payers, recording
from bedrock_chat.ledger.budgets import payers, refusals, reserving, settling
from bedrock_chat.ledger.budgets.amounts import Amount
from bedrock_chat.ledger.budgets.models import PayerKind
from bedrock_chat.ledger.budgets.payers import payers_of
from bedrock_chat.ledger.budgets.refusals import BudgetExceeded, BudgetUsedUp, Unpriced
from bedrock_chat.ledger.budgets.reserving import Estimate, Reserved
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.ledger.units import units_of

WHOSE: Final = {
    PayerKind.USER: "The budget of this bot's owner",
    PayerKind.GROUP: "The budget of the owner's group {}",
    PayerKind.BOT: "The budget of this bot",
    PayerKind.KEY: "The budget of the key",
}
"""As people read it who may edit the bot, and who need not be its owner."""


class NoRoom(Exception):
    """A budget has no room for the call. `sentence` says which, and until when, for who may edit the bot.

    `until` is when there may be room again; None where only an operator can change that.
    """

    def __init__(self, sentence: str, until: datetime | None) -> None:
        self.sentence = sentence
        self.until = until
        super().__init__(sentence)


def owner_pays(owner: User) -> Caller:
    """Whom the ledger names for what a job does to a bot: its owner, who pays, with the groups last seen.

    These groups say whose money it is. They permit nothing: use this caller for the ledger alone.
    """
    return Caller(user_id=owner.pk, groups=frozenset(owner.token_groups))


def reserve(actor: Caller, model: EmbeddingModel, texts: Sequence[str], *, bot_id: str | None) -> Reserved | None:
    """Reserves what the call may cost, in a transaction of its own. None where nobody who pays has a budget.

    Raises NoRoom. A reservation that no call is made for is given back by `write(None, reservation)`.
    """
    return _reserve(actor, bot_id, lambda: _estimate(model, texts))


def reserve_pages(actor: Caller, wanted: Estimate, *, bot_id: str | None) -> Reserved | None:
    """The same for calls that read pages of a document. Their rows are `recording.build_call`'s."""
    return _reserve(actor, bot_id, lambda: wanted)


def _reserve(actor: Caller, bot_id: str | None, estimate: Callable[[], Estimate]) -> Reserved | None:
    with_budgets = payers.with_budgets(payers_of(actor, bot_id))
    if not with_budgets:
        return None
    wanted = estimate()
    try:
        return reserving.reserve_estimate(with_budgets, wanted)
    except Unpriced:
        sentence = f"{wanted.model_name} has no price here, and a hard budget in USD admits no such model."
        raise NoRoom(sentence, None) from None
    except BudgetExceeded as error:
        raise _no_room(error) from None


def build(
    actor: Caller,
    model: EmbeddingModel,
    embedded: Embedded,
    *,
    bot_id: str | None,
    purpose: Purpose = Purpose.EMBEDDING,
    conversation_external_id: str = "",
    message_external_id: str = "",
    turn_id: str | None = None,
) -> ModelCall | None:
    """The unsaved row of calls that have ended, which are counted in the metrics. None where no call was made."""
    if not embedded.calls:
        return None
    prices = offering.embedding_price_row(model)
    call = recording.row_of(
        actor,
        purpose=purpose,
        bot_id=bot_id,
        conversation_external_id=conversation_external_id,
        message_external_id=message_external_id,
        turn_id=turn_id,
        model=model.key,
        model_id=model.model_id,
        region=model.region,
        input_tokens=embedded.input_tokens,
        input_price=prices.input,
        output_price=prices.output,
        price=pricing.price(Usage(embedded.input_tokens, 0), prices),
        latency_ms=embedded.latency_ms,
        fault=embedded.fault.code[:64] if embedded.fault else "",
        estimated=embedded.estimated,
        calls=embedded.calls,
    )
    recording.count_spending(call)
    return call


def write(call: ModelCall | None, reservation: Reserved | None) -> None:
    """Inserts the row of what a job did, settles it and gives back what was reserved, in the caller's transaction.

    Where its owner has been erased meanwhile, the row names nobody.
    """
    write_all([] if call is None else [call], reservation)


def write_all(calls: Sequence[ModelCall], reservation: Reserved | None) -> None:
    """The same for several calls that were reserved together."""
    erased_payers.forget(calls, of_jobs=True)
    with Batch() as batch:
        recording.insert(batch, calls)
        deleted = settling.delete(batch, reservation)
    settling.settle(calls, reservation, deleted)


def _estimate(model: EmbeddingModel, texts: Sequence[str]) -> Estimate:
    tokens = embeddings.tokens_of(texts)
    usd = pricing.price(Usage(tokens, 0), offering.embedding_price_row(model))
    return Estimate(Amount(0 if usd is None else units_of(usd), tokens), usd is not None, model.display_name)


def _no_room(error: BudgetExceeded) -> NoRoom:
    assert error.counter is not None
    counter = error.counter
    whose = WHOSE[PayerKind(counter.payer_kind)].format(counter.payer_id)
    if isinstance(error, BudgetUsedUp):
        return NoRoom(f"{refusals.used_up(counter, whose)}.", refusals.ends_at(counter))
    until = timezone.now() + refusals.RESERVED_TIME
    return NoRoom(f"{whose} has no room beside the calls that are under way.", until)

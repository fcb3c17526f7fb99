"""Reserving what a call may cost, before it is made: it is made only if every hard budget has room.

A call is admitted while used + reserved < allowance. So a period ends at most one call over it.

    with transaction.atomic():
        with Batch() as batch:
            wish = reserving.begin(batch, payers, estimate, now)
        reservation = wish.finish()

`reserve` does that alone, for a call without a turn, whose end is `recording.insert_late`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.utils import timezone

from bedrock_chat.bedrock import estimates, offering, pricing
from bedrock_chat.bedrock.catalog import Model, Target
from bedrock_chat.bedrock.events import Usage
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.database.compiled_sql import Batch, Rows, Statement
from bedrock_chat.ledger.budgets import amounts, expiring, payers, periods, statements
from bedrock_chat.ledger.budgets.amounts import Amount
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Reservation, Unit
from bedrock_chat.ledger.budgets.payers import Payer
from bedrock_chat.ledger.budgets.refusals import BudgetUsedUp, Unpriced, refusal_of
from bedrock_chat.ledger.budgets.statements import RETURNED, Counted, Spans
from bedrock_chat.ledger.rollups import refusals
from bedrock_chat.ledger.units import units_of

REMAINING_HEADER: Final = "X-Budget-Remaining"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call may cost: its input and all the output that it may have. `is_priced` is false where nobody knows."""

    amount: Amount
    is_priced: bool
    model_name: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """A reservation of an open call. `labels` are the periods that it was made in."""

    pk: int
    labels: tuple[str, ...]
    counters: tuple[Counted, ...]

    @property
    def headers(self) -> dict[str, str]:
        """`X-Budget-Remaining`: what was left of the user's and their groups' budgets when the call began.

        What open calls have reserved is not taken away. Budgets of bots and keys are others' money.
        """
        left = [
            f"{amounts.plain(max(0, counter.allowance - counter.used), counter.unit)}"
            f";unit={counter.unit};period={counter.period};payer={counter.payer_kind}"
            for counter in self.counters
            if counter.payer_kind in (PayerKind.USER, PayerKind.GROUP)
        ]
        return {REMAINING_HEADER: ", ".join(left)} if left else {}


@dataclass(frozen=True, slots=True)
class Wish:
    """A reservation that is asked for. Its statements have been added to a batch."""

    payers: Sequence[Payer]
    estimate: Estimate
    now: datetime
    spans: Spans
    statement: Statement[Rows]

    def finish(self) -> Reserved | None:
        """Keeps the reservation, when the batch has run. None where no budget applies: then nothing is reserved.

        Raises BudgetExceeded, and Unpriced: the caller's transaction must not commit.
        """
        counters = statements.counted(self.statement.result)
        if not counters:
            refuse(full_counters(self.payers, self.spans), self.now)
            return None
        _refuse_unpriced(counters, self.estimate)
        row = Reservation(
            counters=",".join(str(counter.pk) for counter in counters),
            usd=self.estimate.amount.usd,
            tokens=self.estimate.amount.tokens,
            expires_at=self.now + expiring.LENGTH,
        )
        with Batch() as batch:
            batch.insert(row)
        return Reserved(row.pk, tuple(span.label for span in self.spans.values()), tuple(counters))


@dataclass(frozen=True, slots=True)
class NoWish:
    """Nobody has a budget that the call would count for."""

    def finish(self) -> None:
        """Reserves nothing."""


NO_WISH: Final = NoWish()


def estimate(model: Model, target: Target, input_tokens: int, output_tokens: int) -> Estimate:
    """What a call may cost, by the model's prices."""
    prices = offering.price_row(model, target)
    usd = pricing.price(Usage(input_tokens, output_tokens), prices)
    caches = bool(model.caching.targets)
    is_priced = None not in (prices.input, prices.output, *((prices.cache_read, prices.cache_write) if caches else ()))
    tokens = input_tokens + output_tokens
    return Estimate(Amount(0 if usd is None else units_of(usd), tokens), is_priced, model.display_name)


def estimate_of(request: ModelRequest) -> Estimate:
    """What a call may cost whose request is composed."""
    most = int(request.body["inferenceConfig"]["maxTokens"])
    return estimate(request.model, request.target, estimates.usage(request, ()).input_tokens, most)


def begin(batch: Batch, with_budgets: Sequence[Payer], wanted: Estimate, now: datetime) -> Wish:
    """Adds the statements of a reservation to a batch. The payers are some who have budgets, by `now` of all clocks."""
    spans = periods.present(now)
    statements.make_missing(batch, with_budgets, spans)
    return Wish(with_budgets, wanted, now, spans, statements.reserve(batch, with_budgets, spans, wanted.amount))


def reserve(of: Sequence[Payer], request: ModelRequest) -> Reserved | None:
    """Reserves what a call may cost that is no turn's, in a transaction of its own. Raises as `Wish.finish`."""
    with_budgets = payers.with_budgets(of)
    return reserve_estimate(with_budgets, estimate_of(request)) if with_budgets else None


def reserve_estimate(with_budgets: Sequence[Payer], wanted: Estimate) -> Reserved | None:
    """As `reserve`, where the cost has been estimated already. The payers are some who have budgets."""
    with transaction.atomic():
        with Batch() as batch:
            wish = begin(batch, with_budgets, wanted, timezone.now())
        return wish.finish()


def refuse_used_up(with_budgets: Sequence[Payer], wanted: Estimate) -> None:
    """Refuses what would be refused when a call begins: budgets that are used up, and a model without a price.

    The payers are some who have budgets. Reserves nothing, and does not look at what calls under way have reserved.
    Raises BudgetUsedUp, and Unpriced.
    """
    now = timezone.now()
    counters = present_counters(with_budgets, periods.present(now))
    refuse([counter for counter in counters if counter.is_hard and counter.used >= counter.allowance], now)
    _refuse_unpriced(counters, wanted)


def refuse(counters: Sequence[Counted], now: datetime) -> None:
    """Raises BudgetExceeded if there are any full counters: of the one that is full for longest."""
    if counters:
        refused = [(counter, refusal_of(counter, now)) for counter in counters]
        counter, error = max(
            refused, key=lambda pair: (isinstance(pair[1], BudgetUsedUp), int(pair[1].headers["Retry-After"]))
        )
        _count_refusal(counter)
        raise error


def full_counters(of: Sequence[Payer], spans: Spans) -> list[Counted]:
    """Those that have no room."""
    return [counter for counter in present_counters(of, spans) if counter.is_full]


def present_counters(of: Sequence[Payer], spans: Spans) -> list[Counted]:
    """The counters of some payers in these periods. One query."""
    ids: dict[str, list[str]] = {}
    for kind, payer_id in of:
        ids.setdefault(kind, []).append(payer_id)
    rows = BudgetCounter.objects.none()
    for kind, payer_ids in ids.items():
        labels = [span.label for span in spans.values()]
        rows |= BudgetCounter.objects.filter(payer_kind=kind, payer_id__in=payer_ids, label__in=labels)
    return statements.counted(list(rows.order_by("pk").values_list(*RETURNED)))


def _refuse_unpriced(counters: Sequence[Counted], wanted: Estimate) -> None:
    if not wanted.is_priced and any(counter.is_hard and counter.unit == Unit.USD for counter in counters):
        raise Unpriced(
            f"message.model: {wanted.model_name} has no price here, and a hard budget in USD admits no such model."
        )


def _count_refusal(counter: Counted) -> None:
    columns = {PayerKind.USER: "payer_id", PayerKind.BOT: "bot_id", PayerKind.KEY: "key_id"}
    column = columns.get(PayerKind(counter.payer_kind))
    refusals.count("budget", **({} if column is None else {column: counter.payer_id}))

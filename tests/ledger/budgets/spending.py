"""Budgets for tests, and calls that are reserved and settled without a model."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.utils import timezone

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity.caller import Program
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.budgets import amounts, payers, reserving, setting, settling
from bedrock_chat.ledger.budgets.amounts import Amount
from bedrock_chat.ledger.budgets.models import Budget, PayerKind, Period, Unit
from bedrock_chat.ledger.budgets.payers import Payer
from bedrock_chat.ledger.budgets.reserving import Estimate, Reserved
from bedrock_chat.ledger.budgets.setting import Wanted
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.ledger.units import units_of

OPERATOR = Program.command("set_budget")


def budget(
    payer_id: str,
    limit: str,
    *,
    kind: PayerKind = PayerKind.USER,
    unit: Unit = Unit.TOKENS,
    period: Period = Period.MONTH,
    is_hard: bool = True,
) -> Budget:
    """Sets a budget."""
    wanted = Wanted(kind, payer_id, unit, period, is_hard)
    return setting.set_budget(wanted, amounts.parsed(limit, unit), actor=OPERATOR)


def reserve(
    of: list[Payer], tokens: int = 10, usd: str = "0", now: datetime | None = None, *, is_priced: bool = True
) -> Reserved | None:
    """Reserves what a call may cost. Raises BudgetExceeded."""
    with_budgets = payers.with_budgets(of)
    if not with_budgets:
        return None
    estimate = Estimate(Amount(units_of(Decimal(usd)), tokens), is_priced=is_priced, model_name="A model")
    with transaction.atomic():
        with Batch() as batch:
            wish = reserving.begin(batch, with_budgets, estimate, now or timezone.now())
        return wish.finish()


def call(of: list[Payer], tokens: int = 10, usd: str = "0", **columns: Any) -> ModelCall:
    """The unsaved row of a call."""
    user_id = dict(of).get(PayerKind.USER, "somebody")
    row = ModelCall(
        created_at=columns.pop("created_at", None) or timezone.now(),
        purpose=Purpose.TURN,
        user_id=user_id,
        payer_id=user_id,
        bot_id=dict(of).get(PayerKind.BOT),
        groups=[payer_id for kind, payer_id in of if kind == PayerKind.GROUP],
        conversation_external_id="c",
        latency_ms=1,
        input_tokens=tokens,
        price=Decimal(usd),
        **columns,
    )
    row.payers = of
    return row


def spend(of: list[Payer], reservation: Reserved | None, tokens: int = 10, usd: str = "0", **columns: Any) -> None:
    """Inserts the row of a call and settles it, in one transaction, as a turn does."""
    row = call(of, tokens, usd, **columns)
    with transaction.atomic():
        with Batch() as batch:
            recording.insert(batch, [row])
            deleted = settling.delete(batch, reservation)
        settling.settle([row], reservation, deleted)

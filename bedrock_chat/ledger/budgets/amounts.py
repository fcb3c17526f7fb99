"""Amounts as whole numbers: tokens, or the ledger's units of a USD (`units`)."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, Self

from bedrock_chat.ledger.budgets.models import Unit
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.units import DIGITS, units_of, usd_of

MOST: Final = {Unit.USD: Decimal(100_000_000), Unit.TOKENS: Decimal(10**15)}
"""The largest allowance, far below what 64 bits hold of both."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What a call costs, in both units."""

    usd: int
    tokens: int

    @classmethod
    def of(cls, call: ModelCall) -> Self:
        """What the ledger's row of a call says. A call without a price counts with its tokens alone."""
        tokens = call.input_tokens + call.output_tokens + call.cache_read_tokens + call.cache_write_tokens
        return cls(usd=0 if call.price is None else units_of(call.price), tokens=tokens)


def shown(amount: int, unit: str) -> Decimal | int:
    """USD with their digits, or tokens."""
    return usd_of(amount) if unit == Unit.USD else amount


def plain(amount: int, unit: str) -> str:
    """As programs read it, without a digit too many: `12.5`, `1000`."""
    if unit != Unit.USD:
        return str(amount)
    text = f"{usd_of(amount):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def sentence(amount: int, unit: str) -> str:
    """As people read it: `12.50 USD`, `0.0003 USD`, `1,000 tokens`."""
    if unit != Unit.USD:
        return f"{amount:,} tokens"
    usd = usd_of(amount)
    text = f"{usd:,.10f}".rstrip("0")
    whole_part, _, digits = text.partition(".")
    return f"{whole_part}.{digits:0<2} USD"


def parsed(text: str, unit: str) -> int:
    """An allowance as an operator writes it. Raises ValueError."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    digits = DIGITS if unit == Unit.USD else 0
    if not (value.is_finite() and 0 <= value <= MOST[Unit(unit)]):
        raise ValueError(f"a number from 0 to {MOST[Unit(unit)]:,}")
    if value != value.quantize(Decimal(1).scaleb(-digits)):
        raise ValueError(f"a number with at most {digits} digits behind the point" if digits else "a whole number")
    return int(value.scaleb(digits))

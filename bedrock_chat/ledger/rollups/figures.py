"""Figures that can be added. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

from bedrock_chat.ledger.rollups.models import MEASURES
from bedrock_chat.ledger.units import usd_of

THROTTLED: Final = "ThrottlingException"
"""The fault of a call that Bedrock throttled until its retries were used up."""


@dataclass(slots=True)
class Figures:
    """The sums over some calls. `price_units` is what the priced ones cost. `faults` is kind → calls."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    price_units: int = 0
    unpriced: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def price(self) -> Decimal:
        """USD, exactly."""
        return usd_of(self.price_units)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def throttles(self) -> int:
        return self.faults.get(THROTTLED, 0)

    def add(self, fault: str, measures: Sequence[int]) -> None:
        """Adds the measures, in the order of MEASURES, of calls that ended with this fault, or without one."""
        calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, price, unpriced = measures
        self.calls += calls
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cache_read_tokens += cache_read_tokens
        self.cache_write_tokens += cache_write_tokens
        self.price_units += price
        self.unpriced += unpriced
        if fault:
            self.add_faults(fault, calls)

    def add_faults(self, fault: str, calls: int) -> None:
        """Notes that so many of the calls, which are counted already, ended with this fault."""
        self.faults[fault] = self.faults.get(fault, 0) + calls

    def document(self) -> dict[str, Any]:
        """The figures as JSON has them. A sum of prices is a text there, since a float would not keep its digits."""
        return {
            "calls": self.calls,
            "inputTokens": self.input_tokens,
            "outputTokens": self.output_tokens,
            "cacheReadTokens": self.cache_read_tokens,
            "cacheWriteTokens": self.cache_write_tokens,
            "price": f"{self.price:f}",
            "unpricedCalls": self.unpriced,
            "faults": dict(sorted(self.faults.items())),
            "throttles": self.throttles,
        }

    @classmethod
    def total(cls, parts: Iterable["Figures"]) -> Self:
        total = cls()
        for part in parts:
            total.add("", part.measures)
            for fault, calls in part.faults.items():
                total.add_faults(fault, calls)
        return total

    @property
    def measures(self) -> tuple[int, ...]:
        """In the order of MEASURES."""
        return tuple(getattr(self, "price_units" if name == "price" else name) for name in MEASURES)


def dearest_first(by_value: Mapping[str, Figures]) -> list[tuple[str, Figures]]:
    """The dearest first, and then by id."""
    return sorted(by_value.items(), key=lambda entry: (-entry[1].price_units, entry[0]))

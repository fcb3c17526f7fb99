"""What a call costs: Bedrock's usage times the catalogue's list prices, or the operator's own prices."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from bedrock_chat.bedrock.catalog import Model, PriceRow, Target
from bedrock_chat.bedrock.events import Usage

UNPRICED = PriceRow(None, None, None, None)
LAST_DIGIT = Decimal("1e-10")
"""What the ledger keeps of a price, on every database alike: sums of its rows are exact."""
OVERRIDES = {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheWrite": "cache_write"}


def prices(model: Model, target: Target, overrides: Mapping[str, Mapping[str, Any]]) -> PriceRow:
    """USD per 1,000 tokens for what is invoked.

    The row is that of the inference profile's geography, else of the region, else the default row; `overrides` are the
    operator's prices by model key and go first. A row without a cache price takes that of the default row. Nova's cache
    writes are the exception: the sources price them in the default row only, at the input price. So in any other row
    they are taken to cost the input price of that row.
    """
    default = model.region_prices.get("default", UNPRICED)
    row = model.profile_prices.get(target.geography or "") or model.region_prices.get(target.region, default)
    cache_write = row.cache_write
    if cache_write is None:
        cache_write = row.input if model.family == "nova" else default.cache_write
    row_prices = {
        "input": row.input,
        "output": row.output,
        "cache_read": row.cache_read if row.cache_read is not None else default.cache_read,
        "cache_write": cache_write,
    }
    for name, value in overrides.get(model.key, {}).items():
        if name in OVERRIDES and value is not None:
            row_prices[OVERRIDES[name]] = Decimal(str(value))
    return PriceRow(**row_prices)


def override_error(overrides: object) -> str | None:
    """What is wrong with an operator's prices of one model; None if they can be used."""
    if not isinstance(overrides, Mapping) or not overrides.keys() <= OVERRIDES.keys():
        return f"expected an object of {', '.join(OVERRIDES)}"
    for name, value in overrides.items():
        try:
            is_price = value is None or 0 <= Decimal(str(value)) < 1000
        except InvalidOperation:  # a text, or true
            is_price = False
        if not is_price:
            return f"{name} must be a number of USD, not {value!r}"
    return None


def price(usage: Usage, row: PriceRow) -> Decimal | None:
    """USD of a call, or None where a kind of token that was used has no price: unpriced is not free."""
    total = Decimal(0)
    for tokens, per_thousand in (
        (usage.input_tokens, row.input),
        (usage.output_tokens, row.output),
        (usage.cache_read_tokens, row.cache_read),
        (usage.cache_write_tokens, row.cache_write),
    ):
        if tokens:
            if per_thousand is None:
                return None
            total += tokens * per_thousand
    return (total / 1000).quantize(LAST_DIGIT)

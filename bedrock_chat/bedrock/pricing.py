"""What a call costs, from Bedrock's usage and the catalogue's list prices or the operator's own."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bedrock_chat.bedrock.catalog import Model, PriceRow, Target
from bedrock_chat.bedrock.events import Usage

UNPRICED = PriceRow(None, None, None, None)
OVERRIDES = {"input": "input", "output": "output", "cacheRead": "cache_read", "cacheWrite": "cache_write"}


def prices(model: Model, target: Target, overrides: Mapping[str, Mapping[str, Any]]) -> PriceRow:
    """USD per 1,000 tokens for what is invoked: by a geographic profile's own row, else the region's or the default.

    A row without a cache price takes the default one. Nova's cache writes are the exception: only the default is
    priced by any source, equal to the input price, so elsewhere the same row's input price is the nearest reading.
    """
    default = model.region_prices.get("default", UNPRICED)
    row = model.profile_prices.get(target.geography or "") or model.region_prices.get(target.region, default)
    cache_write = row.cache_write
    if cache_write is None:
        cache_write = row.input if model.family == "nova" else default.cache_write
    found = {
        "input": row.input,
        "output": row.output,
        "cache_read": row.cache_read if row.cache_read is not None else default.cache_read,
        "cache_write": cache_write,
    }
    for name, value in overrides.get(model.key, {}).items():
        if name in OVERRIDES and value is not None:
            found[OVERRIDES[name]] = Decimal(str(value))
    return PriceRow(**found)


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
    return total / 1000

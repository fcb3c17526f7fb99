"""Prices depend on what was invoked and include cached tokens. A call whose price is not known is never free."""

from decimal import Decimal

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.catalog import GLOBAL, PriceRow, Target
from bedrock_chat.bedrock.events import Usage
from bedrock_chat.bedrock.pricing import price, prices

SONNET = catalog.find("claude-v4.5-sonnet")
NOVA = catalog.find("amazon-nova-pro")


def test_a_call_costs_input_output_and_what_the_cache_read_and_wrote() -> None:
    row = prices(SONNET, Target("x", "us-east-1", GLOBAL), {})
    assert price(Usage(1000, 1000, 1000, 1000), row) == Decimal("0.003") + Decimal("0.015") + Decimal(
        "0.0003"
    ) + Decimal("0.00375")
    assert price(Usage(11, 7), row) == Decimal("0.000138")


def test_a_geographic_profile_costs_its_own_price() -> None:
    geographic = prices(SONNET, Target("eu.x", "eu-central-1", "eu"), {})
    assert geographic.input == Decimal("0.0033")
    assert prices(SONNET, Target("x", "eu-central-1"), {}).input == Decimal("0.003")


def test_a_region_of_its_own_price_costs_that() -> None:
    assert prices(NOVA, Target("x", "us-gov-west-1"), {}).input != prices(NOVA, Target("x", "us-east-1"), {}).input


def test_a_missing_cache_price_is_the_default_one() -> None:
    haiku = catalog.find("claude-v4.5-haiku")
    for geography in haiku.profile_prices:
        row = prices(haiku, Target("x", "us-east-1", geography), {})
        assert row.cache_read is not None
        assert row.cache_write is not None


def test_novas_cache_writes_cost_the_input_of_the_same_row() -> None:
    european = prices(NOVA, Target("eu.x", "eu-west-1", "eu"), {})
    assert european.cache_write == european.input
    assert european.input != prices(NOVA, Target("x", "us-east-1"), {}).input


def test_operators_may_know_better() -> None:
    row = prices(SONNET, Target("x", "us-east-1"), {"claude-v4.5-sonnet": {"input": "0.001", "cacheRead": 0.0001}})
    assert (row.input, row.cache_read, row.output) == (Decimal("0.001"), Decimal("0.0001"), Decimal("0.015"))


def test_a_token_without_a_price_makes_the_call_unpriced_not_free() -> None:
    row = PriceRow(Decimal(1), Decimal(1), None, None)
    assert price(Usage(1, 1, 1, 0), row) is None
    assert price(Usage(1000, 0), row) == 1
    assert price(Usage(0, 0), PriceRow(None, None, None, None)) == 0

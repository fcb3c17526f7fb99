"""The catalogue of models that turn texts into vectors: their limits and prices. The facts stand in
`embedding_models.json` with their sources.

They are no chat models: none of them is offered for conversations, so they are not in `catalog`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bedrock_chat.bedrock.catalog import PriceRow

DATA: Final = Path(__file__).with_name("embedding_models.json")
TITAN: Final = "titan_v2"
COHERE: Final = "cohere_multilingual_v3"


class UnknownEmbeddingModel(KeyError):
    """There is no embedding model with this wire key."""


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model that turns texts into vectors of `dimensions` numbers.

    `batch` is how many texts a call takes, `most_tokens` and `most_characters` how long each of them may be. `region`
    is where it is called; in the catalogue itself it is empty. `prices` are by region, `default` for all others.
    """

    key: str
    model_id: str
    display_name: str
    provider: str
    dimensions: int
    batch: int
    most_tokens: int
    most_characters: int
    prices: Mapping[str, PriceRow]
    price_sources: tuple[str, ...]
    priced_at: str
    region: str = ""

    @property
    def list_price(self) -> PriceRow:
        """USD per 1,000 tokens in its region, before what operators have set. Output is free."""
        return self.prices.get(self.region, self.prices["default"])


def find(key: str) -> EmbeddingModel:
    """The model with this wire key. Raises UnknownEmbeddingModel."""
    try:
        return MODELS[key]
    except KeyError:
        raise UnknownEmbeddingModel(key) from None


def _model(key: str, facts: Mapping[str, Any]) -> EmbeddingModel:
    identity, limits, price = facts["identity"], facts["limits"], facts["price"]
    return EmbeddingModel(
        key=key,
        model_id=identity["bedrockId"],
        display_name=identity["displayName"],
        provider=identity["provider"],
        dimensions=limits["dimensions"],
        batch=limits["mostTexts"],
        most_tokens=limits["mostTokens"],
        most_characters=limits["mostCharacters"],
        prices={name: _price_row(row) for name, row in price["regions"].items()},
        price_sources=tuple(price["source"]),
        priced_at=price["asOf"],
    )


def _price_row(row: Mapping[str, Any]) -> PriceRow:
    return PriceRow(Decimal(str(row["input"])), Decimal(0), None, None)


MODELS: Final[Mapping[str, EmbeddingModel]] = {
    key: _model(key, facts) for key, facts in json.loads(DATA.read_text(encoding="utf-8"))["models"].items()
}
"""Every embedding model by its wire key."""

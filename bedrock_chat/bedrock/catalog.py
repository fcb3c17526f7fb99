"""The catalogue of models: their names, parameters, abilities, limits and prices. Null in the data is "not known".

The facts stand in `catalog.json` with their sources. To add a model, add an entry there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("catalog.json")
GLOBAL = "global"


class UnknownModelKey(KeyError):
    """The catalogue has no model with this wire key."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How a model is asked to think. `fields` go into `additionalModelRequestFields`; None: there is nothing to send.

    `mode` is none, budgetTokens, adaptive or always-on. If the model signs its reasoning (`signed`), the reasoning is
    sent back unmodified in the next request; otherwise it is left out there.
    """

    mode: str
    fields: Mapping[str, Any] | None
    signed: bool
    min_budget: int
    default_budget: int


@dataclass(frozen=True, slots=True)
class Caching:
    """Prompt cache checkpoints: where they may stand, how many there may be, and how many tokens they need to work.

    `targets` are tools, system and messages; empty for a model that does not cache, or caches only for accounts of a
    closed preview. `behind` are the kinds of content blocks directly behind which a checkpoint in a message is taken,
    as `shapes.kind_of` names them.
    """

    targets: frozenset[str]
    behind: frozenset[str]
    max_checkpoints: int
    min_tokens: int | None


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of the images in one request, over all its messages. None means that the limit is not known.

    `most_base64_bytes` and `longest_side` (pixels) hold for each image. If a request has more than `many` images, the
    longest side of each is `longest_side_of_many`.
    """

    most: int | None
    most_base64_bytes: int | None
    longest_side: int | None
    many: int | None
    longest_side_of_many: int | None


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """Limits of the documents in one request, over all its messages. None means that the limit is not known.

    `most_bytes` holds for each document, except for those in `formats_of_any_size`, which only the size of the whole
    request limits.
    """

    most: int | None
    most_bytes: int | None
    formats_of_any_size: frozenset[str]


@dataclass(frozen=True, slots=True)
class Defaults:
    """The parameters to send when the user chose none. None means that the parameter is not sent."""

    max_tokens: int
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop_sequences: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Range:
    """The values of a parameter that a model takes. None: no bound is known."""

    lowest: float | None
    highest: float | None

    def holds(self, value: float) -> bool:
        return (self.lowest is None or value >= self.lowest) and (self.highest is None or value <= self.highest)


@dataclass(frozen=True, slots=True)
class PriceRow:
    """USD per 1,000 tokens. None means that the price is not known."""

    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the catalogue. Abilities are True, False, or None where they are not known.

    `max_request_bytes` is the size of a request's JSON, files in base64 included. `in_region` are the regions where
    `bedrock_id` itself may be called; everywhere else Bedrock wants an inference profile. `priced_at` is the day on
    which the sources named these prices.
    """

    key: str
    bedrock_id: str
    display_name: str
    family: str
    provider: str
    images: bool | None
    documents: bool | None
    tools: bool | None
    tools_while_streaming: bool | None
    system_prompt: bool | None
    prefill: bool | None
    reasoning: Reasoning
    caching: Caching
    context_window: int | None
    max_output_tokens: int | None
    image_limits: ImageLimits
    document_limits: DocumentLimits
    max_request_bytes: int | None
    defaults: Defaults
    temperature: bool
    top_p: bool
    stop_sequences: bool
    top_k_path: tuple[str, ...] | None
    ranges: Mapping[str, "Range"]
    most_stop_sequences: int | None
    restrictions: frozenset[str]
    in_region: frozenset[str]
    profiles: Mapping[str, str]
    profile_regions: Mapping[str, frozenset[str]]
    region_prices: Mapping[str, PriceRow]
    profile_prices: Mapping[str, PriceRow]
    price_sources: tuple[str, ...]
    priced_at: str


@dataclass(frozen=True, slots=True)
class Target:
    """What is invoked, in which region, and which geography's price applies (None: the region's own price)."""

    model_id: str
    region: str
    geography: str | None = None


def find(key: str) -> Model:
    """The model with this wire key. Raises UnknownModelKey."""
    try:
        return MODELS[key]
    except KeyError:
        raise UnknownModelKey(key) from None


# ---- Reading the data -----------------------------------------------------------------------------------------------


def _model(key: str, facts: Mapping[str, Any]) -> Model:
    identity, abilities, parameters = facts["identity"], facts["abilities"], facts["parameters"]
    profiles, limits = facts["inferenceProfiles"], facts["requestLimits"]
    return Model(
        key=key,
        bedrock_id=identity["bedrockId"],
        display_name=identity["displayName"],
        family=identity["family"],
        provider=identity["provider"],
        images=abilities["images"]["supported"],
        documents=abilities["documents"]["supported"],
        tools=abilities["tools"]["supported"],
        tools_while_streaming=abilities["tools"].get("whileStreaming"),
        system_prompt=abilities["systemPrompt"]["supported"],
        prefill=abilities["prefill"]["supported"],
        reasoning=_reasoning(abilities["reasoning"], facts["defaults"]),
        caching=_caching(abilities["promptCaching"]),
        context_window=facts["limits"]["contextWindow"],
        max_output_tokens=facts["limits"]["maxOutputTokens"],
        image_limits=_image_limits(limits["images"]),
        document_limits=_document_limits(limits["documents"]),
        max_request_bytes=limits["body"]["mostBytes"],
        defaults=_defaults(facts["defaults"]),
        temperature=parameters["temperature"]["supported"] is True,
        top_p=parameters["topP"]["supported"] is True,
        stop_sequences=parameters["stopSequences"]["supported"] is True,
        top_k_path=_path(parameters["topK"].get("field")),
        ranges={
            name: Range(parameters[name].get("min"), parameters[name].get("max"))
            for name in ("temperature", "topP", "topK")
            if parameters[name]["supported"]
        },
        most_stop_sequences=parameters["stopSequences"].get("max"),
        restrictions=frozenset(parameters["restrictions"]),
        in_region=frozenset(facts["inRegion"]["regions"]),
        profiles=profiles["ids"],
        profile_regions={name: frozenset(regions) for name, regions in profiles.get("sourceRegions", {}).items()},
        region_prices={name: _price_row(row) for name, row in facts["price"].get("regions", {}).items()},
        profile_prices={name: _price_row(row) for name, row in facts["price"].get("profiles", {}).items()},
        price_sources=tuple(facts["price"]["source"]),
        priced_at=facts["price"]["asOf"],
    )


def _reasoning(facts: Mapping[str, Any], defaults: Mapping[str, Any]) -> Reasoning:
    # For a model that thinks but hides the text, send the fields that ask for the text.
    request = facts.get("askForText") or facts.get("request") or {}
    return Reasoning(
        mode=facts["mode"],
        fields=request.get("additionalModelRequestFields"),
        signed=facts.get("signed") is True,
        min_budget=facts.get("minBudgetTokens") or 0,
        default_budget=defaults.get("reasoningBudgetTokens") or 0,
    )


def _caching(facts: Mapping[str, Any]) -> Caching:
    # Bedrock refuses a checkpoint from an account that is not in the preview, so a model in preview counts as without.
    if facts.get("preview") or not facts["targets"]:
        return Caching(frozenset(), frozenset(), 0, None)
    return Caching(
        targets=frozenset(facts["targets"]),
        behind=frozenset(facts["behind"]["kinds"]),
        max_checkpoints=facts["maxCheckpoints"],
        min_tokens=facts["minTokensPerCheckpoint"],
    )


def _image_limits(facts: Mapping[str, Any]) -> ImageLimits:
    many = facts["many"] or {}
    return ImageLimits(
        most=facts["most"],
        most_base64_bytes=facts["mostBase64Bytes"],
        longest_side=facts["longestSide"],
        many=many.get("above"),
        longest_side_of_many=many.get("longestSide"),
    )


def _document_limits(facts: Mapping[str, Any]) -> DocumentLimits:
    return DocumentLimits(facts["most"], facts["mostBytes"], frozenset(facts["formatsOfAnySize"]))


def _defaults(facts: Mapping[str, Any]) -> Defaults:
    stops = facts["stopSequences"]
    return Defaults(
        max_tokens=facts["maxTokens"],
        temperature=facts["temperature"],
        top_p=facts["topP"],
        top_k=facts["topK"],
        stop_sequences=None if stops is None else tuple(stops),
    )


def _path(field: str | None) -> tuple[str, ...] | None:
    """`additionalModelRequestFields.a.b` → ("a", "b")."""
    return tuple(field.split(".")[1:]) if field else None


def _price_row(row: Mapping[str, Any]) -> PriceRow:
    def price(name: str) -> Decimal | None:
        value = row.get(name)
        return None if value is None else Decimal(str(value))

    return PriceRow(price("input"), price("output"), price("cacheRead"), price("cacheWrite"))


MODELS: Mapping[str, Model] = {
    key: _model(key, facts) for key, facts in json.loads(DATA.read_text(encoding="utf-8"))["models"].items()
}
"""Every model by its wire key, such as `claude-v4.5-sonnet`."""

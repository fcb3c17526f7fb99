"""Which models this deployment offers, in which region it calls them, and which content it refuses to send to them."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from django.conf import settings

from bedrock_chat.bedrock import catalog, pricing
from bedrock_chat.bedrock.catalog import GLOBAL, Model, PriceRow, Target
from bedrock_chat.bedrock.embedding_models import EmbeddingModel
from bedrock_chat.bedrock.overrides import snapshot
from bedrock_chat.wire.errors import BadRequest


class Member(Protocol):
    """Who wants to use a model: a caller, who is a member of groups. A key of a published API is a member of none."""

    def is_in(self, group: str) -> bool: ...


def is_listed(model: Model) -> bool:
    """Whether the environment offers this model. Without GLOBAL_AVAILABLE_MODELS it offers the whole catalogue."""
    return not settings.GLOBAL_AVAILABLE_MODELS or model.key in settings.GLOBAL_AVAILABLE_MODELS


def listed() -> list[Model]:
    """The models that the environment offers."""
    return [model for model in catalog.MODELS.values() if is_listed(model)]


def is_open(model: Model, to: Member | None) -> bool:
    """Whether what operators have set lets somebody use this model; without anybody, whether it is open to all."""
    rows = snapshot.current()
    if model.key in rows.disabled:
        return False
    groups = rows.groups.get(model.key)
    return groups is None or (to is not None and any(to.is_in(group) for group in groups))


def is_offered(model: Model, to: Member | None) -> bool:
    """Whether somebody may choose this model: the environment offers it, and operators let them use it."""
    return is_listed(model) and is_open(model, to)


def refuse_unless_offered(model: Model, to: Member | None) -> None:
    """Raises BadRequest for a model that somebody may not choose."""
    if not is_offered(model, to):
        raise BadRequest(f"message.model: {model.key} is not available here.")


def offered(to: Member | None) -> list[Model]:
    """The models that somebody may choose, the default one first; without anybody, those that are open to all."""
    return _default_first([model for model in listed() if is_open(model, to)])


def enabled() -> list[Model]:
    """The models that anybody at all may choose, the default one first."""
    disabled = snapshot.current().disabled
    return _default_first([model for model in listed() if model.key not in disabled])


def default_key() -> str:
    """The key of the default model: the one that operators have chosen, else DEFAULT_MODEL."""
    return snapshot.current().default or str(settings.DEFAULT_MODEL)


def _default_first(models: list[Model]) -> list[Model]:
    key = default_key()
    return sorted(models, key=lambda model: model.key != key)


def price_row(model: Model, target: Target) -> PriceRow:
    """USD per 1,000 tokens here: what operators have set for the model, else MODEL_PRICES, else the list prices."""
    own = snapshot.current().prices.get(model.key, snapshot.NOTHING)
    return pricing.prices(model, target, {model.key: {**settings.MODEL_PRICES.get(model.key, {}), **own}})


def embedding_price_row(model: EmbeddingModel) -> PriceRow:
    """USD per 1,000 tokens of an embedding model where it is called: those of MODEL_PRICES, else the list prices."""
    own = settings.MODEL_PRICES.get(model.key, {}).get("input")
    return model.list_price if own is None else replace(model.list_price, input=Decimal(str(own)))


def refuse_unreadable(model: Model, *, images: bool, documents: bool) -> None:
    """Raises BadRequest where a request holds images or documents and the model is known not to read them."""
    if images and model.images is False:
        raise BadRequest(f"{model.display_name} cannot see images; choose a model that can.")
    if documents and model.documents is False:
        raise BadRequest(f"{model.display_name} cannot read documents; choose a model that can.")


def route(model: Model) -> Target:
    """What this deployment invokes for a model, and in which region, according to the settings."""
    return target_of(
        model,
        region=settings.BEDROCK_REGION,
        cross_region=settings.CROSS_REGION_INFERENCE,
        global_inference=settings.GLOBAL_INFERENCE,
        profile_arns=settings.INFERENCE_PROFILE_ARNS,
    )


def target_of(
    model: Model, *, region: str, cross_region: bool, global_inference: bool, profile_arns: Mapping[str, str]
) -> Target:
    """Chooses what to invoke. The first of these that applies:

    1. The inference profile that the operator set for this model.
    2. With `global_inference`, the global profile, if it serves the region.
    3. With `cross_region`, the geographic profile that serves the region.
    4. The bare model id.

    With both switches off the bare id is called even where Bedrock requires a profile. The switches promise that data
    stays in the region, so a clear refusal by Bedrock is better than a call to another region that nobody sees.
    `manage.py check` warns of it (`switched_off_profiles`).
    """
    if arn := profile_arns.get(model.key):
        return Target(arn, region)
    if global_inference and region in model.profile_regions.get(GLOBAL, ()):
        return Target(model.profiles[GLOBAL], region, GLOBAL)
    if cross_region:
        for geography, regions in model.profile_regions.items():
            if geography != GLOBAL and region in regions:
                return Target(model.profiles[geography], region, geography)
    return Target(model.bedrock_id, region)


def switched_off_profiles(model: Model) -> list[str]:
    """The profiles through which alone this deployment's region reaches a model, if the settings switch them off.

    Empty for a model that is called through a profile, or under its own id, or that the region does not reach at all.
    """
    region = settings.BEDROCK_REGION
    if route(model).model_id != model.bedrock_id or region in model.in_region:
        return []
    return sorted(geography for geography, regions in model.profile_regions.items() if region in regions)

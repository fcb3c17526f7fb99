"""Setting what of a model goes before the environment's lists, recorded in the audit."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import Change, record
from bedrock_chat.bedrock import catalog, offering
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.overrides import snapshot
from bedrock_chat.bedrock.overrides.models import PRICES, ModelOverride
from bedrock_chat.database.text import is_storable
from bedrock_chat.identity.caller import Actor
from bedrock_chat.wire.errors import BadRequest, Conflict, NotFound
from bedrock_chat.wire.revisions import refuse_outdated, revision_of

MOST_GROUPS: Final = 50
LONGEST_GROUP: Final = 256
HIGHEST_PRICE: Final = Decimal(1000)
"""USD per 1,000 tokens, below which a price is."""
COLUMNS: Final = ("is_enabled", "is_default", "groups", *PRICES)

CHANGE_MODEL = verbs.register(
    "change",
    target="model",
    values={
        "is_enabled": verbs.flag,
        "is_default": verbs.flag,
        "groups": verbs.ids,
        **dict.fromkeys(PRICES, verbs.number),
    },
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to hold of a model. Prices are USD per 1,000 tokens; None: as the environment has it."""

    is_enabled: bool = True
    is_default: bool = False
    groups: Sequence[str] = ()
    input_price: Decimal | None = None
    output_price: Decimal | None = None
    cache_read_price: Decimal | None = None
    cache_write_price: Decimal | None = None

    @property
    def columns(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in COLUMNS}, "groups": sorted(set(self.groups))}


def of(key: str) -> ModelOverride:
    """What operators have set of a model, in a row that may not be stored. Raises NotFound for an unknown model."""
    if key not in catalog.MODELS:
        raise NotFound(f"The catalogue has no model {key}.")
    return ModelOverride.objects.filter(pk=key).first() or ModelOverride(pk=key)


def revision(row: ModelOverride) -> str:
    """The state of a row that a change is based on."""
    return revision_of(row, COLUMNS)


def change(key: str, wanted: Wanted, *, base: str | None = None, actor: Actor) -> ModelOverride:
    """Sets what holds of a model; every process sees it within `snapshot.FRESH_SECONDS`.

    A default model takes that place from the one that had it, which is recorded too. A row that says nothing any more
    is deleted. Raises NotFound, BadRequest for what cannot hold, and Conflict where somebody else has changed it since
    the revision `base`, or does so now.
    """
    model = catalog.MODELS.get(key)
    if model is None:
        raise NotFound(f"The catalogue has no model {key}.")
    _refuse(model, wanted)
    try:
        with transaction.atomic():
            if wanted.is_default:
                others = ModelOverride.objects.select_for_update().filter(is_default=True).exclude(pk=key)
                for other in others:
                    _write(other, {"is_default": False}, actor)
            row = ModelOverride.objects.select_for_update().filter(pk=key).first()
            is_new = row is None
            row = row or ModelOverride(pk=key)
            refuse_outdated(row, COLUMNS, base)
            _write(row, wanted.columns, actor, is_new=is_new)
            transaction.on_commit(snapshot.forget)
    except IntegrityError:  # no lock keeps others from making the first row, or the first default
        raise Conflict("Somebody else changes models at the same time; try again.") from None
    return row


def _write(row: ModelOverride, columns: dict[str, Any], actor: Actor, *, is_new: bool = False) -> None:
    """Stores a row and records what has changed of it; nothing, where nothing has."""
    changed = {
        name: Change(getattr(row, name), value) for name, value in columns.items() if getattr(row, name) != value
    }
    if not changed:
        return
    for name, value in columns.items():
        setattr(row, name, value)
    if {name: getattr(row, name) for name in Wanted().columns} == Wanted().columns:
        ModelOverride.objects.filter(pk=row.pk).delete()
    else:
        row.save(force_insert=is_new)
    values = {name: _plain(change) for name, change in changed.items()}
    record(CHANGE_MODEL, row.pk, actor=actor, fields=sorted(changed), values=values)


def _plain(change: Change) -> Change:
    """Prices as the audit keeps them."""
    before, after = (float(value) if isinstance(value, Decimal) else value for value in (change.before, change.after))
    return Change(before, after)


def _refuse(model: Model, wanted: Wanted) -> None:
    """Raises BadRequest."""
    if wanted.is_default and not wanted.is_enabled:
        raise BadRequest("The default model has to be enabled.")
    if wanted.is_default and wanted.groups:
        raise BadRequest("The default model has to be open to everybody.")
    if wanted.is_default and not offering.is_listed(model):
        raise BadRequest("GLOBAL_AVAILABLE_MODELS does not offer this model, so it cannot be the default one.")
    if len(wanted.groups) > MOST_GROUPS:
        raise BadRequest(f"At most {MOST_GROUPS} groups.")
    for group in wanted.groups:
        if not group.strip() or len(group) > LONGEST_GROUP or not is_storable(group):
            raise BadRequest(f"The name of a group has 1 to {LONGEST_GROUP} characters.")
    for name in PRICES:
        price = getattr(wanted, name)
        if price is not None and not 0 <= price < HIGHEST_PRICE:
            raise BadRequest(f"A price is 0 or more, and less than {HIGHEST_PRICE} USD per 1,000 tokens.")

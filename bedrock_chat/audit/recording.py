"""Recording a write, in its own transaction: either both are there, or neither."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.db import connection

from bedrock_chat.audit.models import ActorKind, AuditEntry
from bedrock_chat.audit.verbs import Check, UnfitForAudit, Verb, check_name, kept_id
from bedrock_chat.database.compiled_sql import NOW, Batch
from bedrock_chat.identity.caller import Actor, Caller, Program
from bedrock_chat.identity.origin import NOWHERE

NO_VALUES: Mapping[str, Any] = MappingProxyType({})


class NoTransaction(RuntimeError):
    """An entry was to be recorded outside the transaction of its write."""


@dataclass(frozen=True, slots=True)
class Change:
    """A value before and after the write."""

    before: Any
    after: Any


def record(
    verb: Verb,
    target_id: str,
    *,
    actor: Actor,
    fields: Iterable[str] = (),
    version_before: int | None = None,
    version_after: int | None = None,
    values: Mapping[str, Any] = NO_VALUES,
    batch: Batch | None = None,
) -> None:
    """Records one write. Call it inside the write's transaction. It costs one INSERT, which may join a batch.

    `values` are plain, or a Change. Raises NoTransaction, and UnfitForAudit for a value that the verb does not name or
    that is not of the kind that the verb says: both are faults of the code that calls.
    """
    if not connection.in_atomic_block:
        raise NoTransaction(f"{verb.name} {verb.target}: record it in the transaction of the write.")
    if not target_id:
        raise UnfitForAudit("An entry is about something.")
    origin = actor.origin if isinstance(actor, Caller) else NOWHERE
    kind, actor_id = _kind_and_id(actor)
    entry = AuditEntry(
        verb=verb.name,
        target_kind=verb.target,
        target_id=kept_id(target_id),
        actor_kind=kind,
        actor_id=actor_id,
        fields=[check_name(name) for name in fields],
        values={name: _checked(verb, name, value) for name, value in values.items()},
        version_before=version_before,
        version_after=version_after,
        request_id=origin.request_id,
        network=origin.network[:64],
    )
    if batch is None:
        with Batch() as own_batch:
            own_batch.insert_unless_taken(entry, at=NOW)
    else:
        batch.insert_unless_taken(entry, at=NOW)


def _kind_and_id(actor: Actor) -> tuple[ActorKind, str]:
    if isinstance(actor, Program):
        return ActorKind(actor.kind), check_name(actor.name)
    if actor.user_id is None:
        return ActorKind.KEY, kept_id(str(actor.key_id))
    return ActorKind.OPERATOR if actor.is_operator else ActorKind.USER, kept_id(actor.user_id)


def _checked(verb: Verb, name: str, value: Any) -> Any:
    check: Check | None = verb.values.get(name)
    if check is None:
        raise UnfitForAudit(f"{verb.name} {verb.target} keeps no value {name!r}.")
    if isinstance(value, Change):
        return {"before": check(value.before), "after": check(value.after)}
    return check(value)

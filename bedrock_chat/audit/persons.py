"""A person's entries: exported with their other data, and kept when the person is erased."""

import json
from collections.abc import Iterator
from pathlib import Path

from django.db.models import Q, QuerySet
from django.forms.models import model_to_dict

from bedrock_chat.audit.models import ActorKind, AuditEntry
from bedrock_chat.audit.verbs import kept_id
from bedrock_chat.identity.caller import Actor

CHUNK = 200


def entries_of(user_id: str) -> QuerySet[AuditEntry]:
    """What a person did, and what was done to them."""
    kept = kept_id(user_id)
    as_actor = Q(actor_id=kept, actor_kind__in=[ActorKind.USER, ActorKind.OPERATOR])
    return AuditEntry.objects.filter(as_actor | Q(target_id=kept, target_kind="user"))


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes `audit.jsonl`: one line for each entry of the person."""
    written = 0
    with (folder / "audit.jsonl").open("w", encoding="utf-8") as lines:
        for entry in entries_of(user_id).order_by("pk").iterator(chunk_size=CHUNK):
            lines.write(json.dumps(model_to_dict(entry, exclude=["id"]), default=str, ensure_ascii=False) + "\n")
            written += 1
    yield f"{written} entries of the audit"


def prepare_erasing(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Does nothing: the entries stay."""
    yield from ()


def finish_erasing(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Says how many entries stay. They hold ids, and no name or text."""
    yield f"{entries_of(user_id).count()} entries of the audit stay until they expire."

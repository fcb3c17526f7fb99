"""A person's rows in the ledger: exported with their other data, and without their name once they are erased."""

import json
from collections.abc import Iterator
from pathlib import Path

from django.db.models import QuerySet
from django.forms.models import model_to_dict

from bedrock_chat.identity.caller import Actor
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bedrock_chat.ledger.recording import erased_id
from bedrock_chat.ledger.rollups import persons as rollups

CHUNK = 200
IDS = {"conversation_external_id": "conversation_id", "message_external_id": "message_id"}
"""The ledger's column → its name in the file, in the style of the other ids there."""


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes `calls.jsonl` and `tool_calls.jsonl`: a line for each call to a model, and of a tool."""
    written = write(ModelCall.objects.filter(user_id=user_id), folder / "calls.jsonl")
    yield f"{written} calls to models"
    written = write(_tool_calls_of(user_id), folder / "tool_calls.jsonl")
    yield f"{written} calls of tools"


def _tool_calls_of(user_id: str) -> QuerySet[ToolCall]:
    """Those that the user made. They paid for them, and who pays has an index."""
    return ToolCall.objects.filter(payer_id=user_id, user_id=user_id)


def write(calls: QuerySet[ModelCall] | QuerySet[ToolCall], path: Path) -> int:
    """Writes a line for each call. Returns how many."""
    written = 0
    with path.open("w", encoding="utf-8") as lines:
        for call in calls.order_by("pk").iterator(chunk_size=CHUNK):
            columns = {IDS.get(name, name): value for name, value in model_to_dict(call, exclude=["id"]).items()}
            lines.write(json.dumps(columns, default=str, ensure_ascii=False) + "\n")
            written += 1
    return written


def prepare_erasing(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Does nothing: `finish_erasing` needs one statement for all rows."""
    yield from ()


def finish_erasing(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Puts an id that names nobody in place of the user's. The rows stay, so the sums stay right.

    For published calls the user paid; whom an integrator asked for is forgotten with them.
    """
    nameless = erased_id()
    kept = ModelCall.objects.filter(user_id=user_id).update(user_id=nameless, payer_id=nameless)
    published = ModelCall.objects.filter(publication_id__isnull=False, payer_id=user_id)
    kept += published.update(payer_id=nameless, user_label="")
    _tool_calls_of(user_id).update(user_id=nameless, payer_id=nameless)
    ToolCall.objects.filter(publication_id__isnull=False, payer_id=user_id).update(payer_id=nameless)
    rollups.rename(user_id, nameless)
    yield f"{kept} calls stay in the ledger, under an id that names nobody."

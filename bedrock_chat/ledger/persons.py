"""A person's rows in the ledger: exported with all else that there is of them, and nameless once they are erased."""

import json
from collections.abc import Iterator
from pathlib import Path

from django.forms.models import model_to_dict

from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.recording import erased_id

CHUNK = 200
IDS = {"conversation_external_id": "conversation_id", "message_external_id": "message_id"}
"""The ledger's column → what it is called in the file, as the other ids there are."""


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes `calls.jsonl`: one call to a model a line, what their questions cost."""
    done = 0
    with (folder / "calls.jsonl").open("w", encoding="utf-8") as lines:
        for call in ModelCall.objects.filter(user_id=user_id).order_by("pk").iterator(chunk_size=CHUNK):
            columns = {IDS.get(name, name): value for name, value in model_to_dict(call, exclude=["id"]).items()}
            lines.write(json.dumps(columns, default=str, ensure_ascii=False) + "\n")
            done += 1
    yield f"{done} calls to models"


def prepare_erasing(user_id: str) -> Iterator[str]:
    """Nothing to do before the end: one statement is enough for all rows."""
    yield from ()


def finish_erasing(user_id: str) -> Iterator[str]:
    """Leaves the sums, and nobody's name."""
    nameless = erased_id()
    kept = ModelCall.objects.filter(user_id=user_id).update(user_id=nameless, payer_id=nameless)
    yield f"{kept} calls stay in the ledger, under {nameless}."

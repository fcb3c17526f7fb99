"""What there is of a person, as files that they can take away: JSON lines, and the images and documents themselves.

user.json             who they are
conversations.jsonl   one conversation a line, as `GET /conversation/{id}` tells it, bodies as paths of files
calls.jsonl           one call to a model a line: what their questions cost
files/SHA256          the bodies of images and documents

A body whose file is lost is empty, with `"lost": true` beside it: the rest is theirs all the same.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.forms.models import model_to_dict

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.renderers import dumps
from conversations import rendering
from conversations.models import Conversation

logger = logging.getLogger(__name__)

FILES = "files"
CHUNK = 200
CALL_IDS = {"conversation_external_id": "conversation_id", "message_external_id": "message_id"}
"""The ledger's column → what it is called in the file, as the other ids there are."""


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes all that is stored of a user into an empty folder; yields a sentence now and then.

    One conversation at a time is held in memory. Raises NotFound, and FileExistsError where the folder holds anything.
    """
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound(f"No user found with id: {user_id}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty.")
    (folder / FILES).mkdir()
    told = {"id": user.pk, "username": user.username, "email": user.email, "groups": user.token_groups}
    told["createdAt"] = user.created_at.isoformat()
    (folder / "user.json").write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
    yield from _conversations(user_id, folder)
    yield from _calls(user_id, folder)


def _conversations(user_id: str, folder: Path) -> Iterator[str]:
    rows = Conversation.objects.filter(user_id=user_id).order_by("external_id")
    total, done = rows.count(), 0
    with (folder / "conversations.jsonl").open("wb") as lines:
        for conversation in rows.iterator(chunk_size=CHUNK):
            show = _Copies(folder / FILES)
            with suppress(NotFound):  # deleted meanwhile
                told = rendering.conversation_output(conversation, database_now(), show)
                found = conversation.related_documents.order_by("pk")
                told["relatedDocuments"] = rendering.related_documents(found, show)
                lines.write(dumps(told) + b"\n")
            for file_name in show.lost:
                yield f"{file_name} of conversation {conversation.external_id} is lost"
            done += 1
            if done % CHUNK == 0 or done == total:
                yield f"{done} of {total} conversations"


class _Copies:
    """Shows files as copies in a folder."""

    def __init__(self, folder: Path) -> None:
        self.lost: list[str] = []
        self._folder = folder
        self._files = storing.StoredFiles()

    def expect(self, shas: Iterable[str]) -> None:
        self._files.expect(shas)

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, Any]:
        target = self._folder / sha256
        if not target.exists():
            try:
                target.write_bytes(self._files.read(sha256))
            except FileNotFoundError:
                logger.exception("The file of blob %s is lost.", sha256)
                self.lost.append(file_name)
                return {"body": "", "lost": True}
        return {"body": f"{FILES}/{sha256}"}


def _calls(user_id: str, folder: Path) -> Iterator[str]:
    done = 0
    with (folder / "calls.jsonl").open("w", encoding="utf-8") as lines:
        for call in ModelCall.objects.filter(user_id=user_id).order_by("pk").iterator(chunk_size=CHUNK):
            told = {CALL_IDS.get(name, name): value for name, value in model_to_dict(call, exclude=["id"]).items()}
            lines.write(json.dumps(told, default=str, ensure_ascii=False) + "\n")
            done += 1
    yield f"{done} calls to models"

"""Exports a person's conversations as files that they can take away (`bedrock_chat/identity/exporting.py`).

conversations.jsonl   one conversation a line, in the JSON of `GET /conversation/{id}`, bodies as paths of files
files/SHA256          the bodies of images and documents

If a file is lost, its body is empty, with `"lost": true` beside it. The person gets the rest all the same.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.db.models import QuerySet

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.renderers import dumps
from conversations import access, rendering
from conversations.content.files import Copies
from conversations.models import Conversation

FILES = "files"
CHUNK = 200


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes the user's conversations. Yields sentences on progress."""
    (folder / FILES).mkdir()
    rows = Conversation.objects.filter(user_id=user_id)
    person = Caller(user_id=user_id, groups=frozenset(User.objects.get(pk=user_id).token_groups))
    yield from write(rows, folder, "conversations.jsonl", person)


def write(rows: QuerySet[Conversation], folder: Path, file_name: str, person: Caller) -> Iterator[str]:
    """Writes some conversations as `person` sees them, and their files beside. Only one at a time is in memory."""
    total, done = rows.count(), 0
    with (folder / file_name).open("wb") as lines:
        for conversation in rows.order_by("external_id").iterator(chunk_size=CHUNK):
            show = Copies(folder / FILES)
            with suppress(NotFound):  # deleted meanwhile
                bot = access.bot_of(conversation, person)
                exported = rendering.conversation_output(conversation, database_now(), show, bot, actor=person)
                documents = conversation.related_documents.order_by("pk")
                exported["relatedDocuments"] = rendering.exported_documents(documents, show)
                if unanswered := rendering.unanswered_rounds(conversation, show):
                    exported["unansweredRounds"] = unanswered
                lines.write(dumps(exported) + b"\n")
            for lost in show.lost:
                yield f"{lost} of conversation {conversation.external_id} is lost"
            done += 1
            if done % CHUNK == 0 or done == total:
                yield f"{done} of {total} conversations"

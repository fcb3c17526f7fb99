"""Exports a person's published APIs as files that they can take away (`bedrock_chat/identity/exporting.py`).

publications.jsonl             one API a line, in the JSON of `GET /bot/{id}/publication`
api-keys.jsonl                 one key a line, without its value, with its last use
published-conversations.jsonl  the conversations of all their APIs, withdrawn ones too, in the JSON of
                               `GET /conversation/{id}`, with the files beside those of their own conversations
published-questions.jsonl      the questions that were accepted: ids, when, for whom, and why one failed
published-calls.jsonl          what those cost them, one call to a model a line
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.exporting import write_lines
from bedrock_chat.ledger import persons
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.moments import whole_milliseconds
from conversations.persons import exporting
from publication import erasing, rendering
from publication.models import ApiKey, Publication, TurnRequest

CHUNK = 200


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes the user's APIs. Yields sentences on progress."""
    yield f"{write_lines(folder / 'publications.jsonl', _publications(user_id))} published APIs"
    yield f"{write_lines(folder / 'api-keys.jsonl', _keys(user_id))} keys of APIs"
    conversations = erasing.conversations_of(user_id)
    for sentence in exporting.write(conversations, folder, "published-conversations.jsonl", Caller(user_id=user_id)):
        yield f"of APIs: {sentence}"
    yield f"{write_lines(folder / 'published-questions.jsonl', _questions(user_id))} questions of APIs"
    paid = ModelCall.objects.filter(publication_id__isnull=False, payer_id=user_id)
    yield f"{persons.write(paid, folder / 'published-calls.jsonl')} calls to models of APIs"


def _publications(user_id: str) -> Iterator[dict[str, Any]]:
    rows = Publication.objects.filter(bot__owner=user_id).prefetch_related("keys").order_by("bot")
    for publication in rows.iterator(chunk_size=CHUNK):
        key_ids = sorted(key.pk for key in publication.keys.all())
        yield {
            "botId": publication.bot_id,
            **rendering.publication_output(publication, key_ids),
            "createdDate": whole_milliseconds(publication.created_at),
        }


def _keys(user_id: str) -> Iterator[dict[str, Any]]:
    rows = ApiKey.objects.filter(publication__bot__owner=user_id).select_related("publication")
    for key in rows.order_by("publication__bot", "created_at", "pk").iterator(chunk_size=CHUNK):
        yield {"botId": key.publication.bot_id, **rendering.listed_keys([key])[0]}


def _questions(user_id: str) -> Iterator[dict[str, Any]]:
    rows = TurnRequest.objects.filter(publication_id__in=erasing.publications_of(user_id)).order_by("pk")
    for turn in rows.defer("content").iterator(chunk_size=CHUNK):
        yield {
            **rendering.accepted(turn),
            "apiKeyId": turn.key_id,
            "model": turn.model,
            "userLabel": turn.user_label,
            "acceptedTime": whole_milliseconds(turn.accepted_at),
            "doneTime": whole_milliseconds(turn.done_at),
            "reason": turn.reason,
        }

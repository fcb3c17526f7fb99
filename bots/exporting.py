"""Exports a person's bots as files that they can take away (`bedrock_chat/identity/exporting.py`).

bots.jsonl            one bot of their own a line, whole, in the JSON of `GET /bot/private/{id}`
bot-versions.jsonl    one version of those bots a line, in the JSON of `GET /bot/{id}/versions/{n}`, without `changes`
bot-files/SHA256      the files of those bots and versions, whose `files` name them by digest
bot-documents.jsonl   what those bots know from, a document a line: where it is, its state, how many passages
bot-stars.jsonl       what they had to do with a bot, their own or another's: the star, the last use, how many uses
bot-grants.jsonl      the bots of others that name them among the people they are shared with

Secrets are masks there too. Guardrails are there with their thresholds, and without what was made of them in Bedrock.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from bedrock_chat.blobs import storing
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.exporting import write_lines
from bedrock_chat.wire.moments import milliseconds
from bots import listing, rendering, sharing
from bots.knowledge import rendering as knowledge_rendering
from bots.knowledge import reports
from bots.knowledge.models import Knowledge
from bots.models import Bot, BotAlias, BotFile, BotGrant, BotVersion

FILES = "bot-files"
CHUNK = 200

Row = TypeVar("Row", bound=Model)


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes the user's bots. Yields sentences on progress. Only one version at a time is in memory."""
    person = Caller(user_id=user_id)
    yield f"{write_lines(folder / 'bots.jsonl', _bots(person))} bots"
    yield f"{write_lines(folder / 'bot-versions.jsonl', _versions(person))} versions of bots"
    yield from _files(person, folder / FILES)
    yield f"{write_lines(folder / 'bot-documents.jsonl', _documents(person))} documents that bots know"
    yield f"{write_lines(folder / 'bot-stars.jsonl', _stars(person))} bots starred or used"
    yield f"{write_lines(folder / 'bot-grants.jsonl', _grants(person))} bots shared by others"


def _bots(person: Caller) -> Iterator[dict[str, Any]]:
    for bot in _one_by_one(Bot.objects.filter(owner=person.user_id).order_by("pk")):
        yield rendering.bot_output(bot, sharing.people_of(bot), listing.last_use(person, bot))


def _versions(person: Caller) -> Iterator[dict[str, Any]]:
    for version in _one_by_one(BotVersion.objects.filter(bot__owner=person.user_id).order_by("bot_id", "number")):
        exported = rendering.version_output(version, None)
        del exported["changes"]
        yield exported


def _files(person: Caller, folder: Path) -> Iterator[str]:
    """Writes the files, each once. A lost one is left out, and the person gets the rest all the same."""
    folder.mkdir()
    digests = list(BotFile.objects.filter(bot__owner=person.user_id).values_list("sha256", flat=True).distinct())
    stored = storing.StoredFiles()
    stored.expect(digests)
    written = 0
    for sha256 in digests:
        try:
            (folder / sha256).write_bytes(stored.read(sha256))
            written += 1
        except FileNotFoundError:
            yield f"The file {sha256} of a bot is lost"
    yield f"{written} files of bots"


def _documents(person: Caller) -> Iterator[dict[str, Any]]:
    for bot_id in list(Knowledge.objects.filter(bot__owner=person.user_id).values_list("bot_id", flat=True)):
        after = 0
        while page := list(reports.documents(bot_id, state=None, after=after, limit=CHUNK, actor=person)):
            for document in knowledge_rendering.documents_output(page):
                yield {"botId": bot_id, **document}
            after = page[-1].pk


def _stars(person: Caller) -> Iterator[dict[str, Any]]:
    for alias in BotAlias.objects.filter(user=person.user_id).order_by("bot_id").iterator(chunk_size=CHUNK):
        last_used_at = alias.last_used_at
        yield {
            "botId": alias.bot_id,
            "title": alias.title,
            "description": alias.description,
            "isStarred": alias.is_starred,
            "lastUsedTime": None if last_used_at is None else milliseconds(last_used_at),
            "uses": alias.uses,
            "createTime": milliseconds(alias.created_at),
        }


def _grants(person: Caller) -> Iterator[dict[str, Any]]:
    named = BotGrant.objects.to(person).order_by("bot_id").values_list("bot_id", flat=True)
    for bot_id in named.iterator(chunk_size=CHUNK):
        yield {"botId": bot_id}


def _one_by_one(rows: QuerySet[Row]) -> Iterator[Row]:
    """The rows, a query each: they may be large. What is deleted meanwhile is left out."""
    for key in list(rows.values_list("pk", flat=True)):
        yield from rows.filter(pk=key)

"""A bot as its document, with its files if they are asked for."""

from typing import IO, Any

from django.conf import settings

from bedrock_chat.blobs import storing
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.renderers import dumps
from bots import access, content, rendering
from bots.configuration import files_of
from bots.models import Bot
from bots.transfer import archives, documents

MEGABYTE = 1024 * 1024
ENTRY_BYTES = 512
"""What a zip needs for each entry, at most."""


class Export:
    """A bot's document, for its owner or Admin. Raises NotFound and Forbidden."""

    def __init__(self, bot_id: str, *, actor: Caller) -> None:
        bot = access.get_editable(actor, bot_id)
        self._digests = digests_of(bot)
        self.document = document_of(bot)
        self.size = rendering.size_of(bot)

    def zipped(self) -> "Zipped":
        return Zipped(self.document, self._digests)


class Zipped:
    """A document and its files, which are not read yet. `size` is about the zip's, in bytes.

    Raises BadRequest where the zip would be larger than what an import takes.
    """

    def __init__(self, document: Any, digests: list[str]) -> None:
        self._document, self._digests = dumps(document), digests
        self._stored = storing.StoredFiles()
        self._stored.expect(digests)
        sizes = sum(self._stored.size(sha256) for sha256 in digests)
        self.size = len(self._document) + sizes + ENTRY_BYTES * (len(digests) + 1)
        if self.size > min(settings.MAX_BODY_MB * MEGABYTE, archives.MOST_BYTES):
            raise BadRequest(
                f"The bot has files of {sizes // MEGABYTE} MB, more than a zip takes: an operator exports them with "
                "`manage.py export_bots --files`."
            )

    def make(self) -> IO[bytes]:
        """The zip, in a temporary file. Raises Conflict for a lost file, and StorageUnavailable."""
        storing.let_go_of_database()
        return archives.make(self._document, self._digests, self._stored)


def document_of(bot: Bot, owner: User | None = None) -> Any:
    kept = content.without_secrets(bot)
    return documents.of(kept, allow_cloning=bot.allow_cloning, bot_id=bot.pk, owner=owner)


def digests_of(bot: Bot) -> list[str]:
    """The files that the bot has today, each once."""
    return sorted({entry["sha256"] for entry in files_of(bot.configuration).values()})

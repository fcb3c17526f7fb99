"""The bot's own files, whose bytes are stored already."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.files.storage import default_storage

from bedrock_chat.outbound.faults import MEGABYTE
from bots.configuration import FileEntry
from bots.knowledge.reading.kinds import kind_of_name
from bots.knowledge.sources import kinds
from bots.knowledge.sources.locations import FetchContext, Fetched, Known, Location, SourceFault
from bots.knowledge.states import Blame

PREFIX: Final = "file:"
"""Of a location. No URL has this scheme, and no name of a file a slash, so that it is no other document's."""


def location(name: str, entry: FileEntry) -> Location:
    """A file of the bot, which its configuration names."""
    return Location("file", f"{PREFIX}{name}", kinds.seen(name), digest=entry["sha256"], size=entry["size"])


def too_large() -> str:
    return f"This file is larger than {settings.KNOWLEDGE_FILE_MB} MB."


def fetch(location: Location, known: Known, context: FetchContext) -> Fetched:
    """The file's bytes, or that they are the known ones. Raises SourceFault and StorageUnavailable."""
    kind = kind_of_name(location.name)
    if kind is None:
        raise SourceFault(kinds.refusal_of_name(location.name), blame=Blame.OWNER)
    if (location.size or 0) > settings.KNOWLEDGE_FILE_MB * MEGABYTE:
        raise SourceFault(too_large(), blame=Blame.OWNER)
    if known.digest == location.digest:
        return Fetched(location, None, size=location.size or 0, digest=location.digest, kind=kind, is_unchanged=True)
    stored = context.stored.get(location.digest)
    try:
        if stored is None:
            raise FileNotFoundError(location.digest)
        path = _copied(stored, context.folder)
    except FileNotFoundError:
        raise SourceFault("This file is not there any more; upload it again.", blame=Blame.OWNER) from None
    return Fetched(location, path, size=location.size or 0, digest=location.digest, kind=kind)


def _copied(stored: str, folder: Path) -> Path:
    with default_storage.open(stored) as file, tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
        try:
            shutil.copyfileobj(file, copy)
        except BaseException:
            Path(copy.name).unlink(missing_ok=True)
            raise
        return Path(copy.name)

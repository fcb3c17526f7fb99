"""A disk or a storage that is away is waited for: it fails no document. For an hour, since somebody has to mend it.

A slice goes on with other documents meanwhile, as one may be alone with its trouble: its file belongs to somebody else,
or lies where the disk is broken. After a few in a row, with nothing done in between, the slice gives up its turn.
"""

from datetime import timedelta
from typing import Final

from bedrock_chat.database.connections import database_now
from bots.knowledge.models import Knowledge
from bots.knowledge.slices import Slice
from bots.knowledge.sources import kinds
from bots.knowledge.states import Blame

AWAY_SECONDS: Final = 60.0
"""After which a storage or a disk is tried again."""
MOST_TROUBLES: Final = 3
"""In a row, before a slice begins nothing more."""
PATIENCE: Final = timedelta(hours=1)
"""How long nothing may be done before the sync ends, and after which another one begins."""
DISK_AWAY: Final = "This server cannot write or read its files just now; it tries again in a minute."
STORAGE_AWAY: Final = "The storage of documents does not answer; it is asked again in a minute."
FOR_LONG: Final = "This server could not write or read its files for an hour"


def wait(slice_: Slice, sentence: str, name: str = "") -> None:
    """What is in trouble comes again in the next slice. After an hour without anything done the sync ends, and another
    one begins in an hour. Without the `name` of a document or a list, nothing at all can go on in this slice.
    """
    now = database_now()
    since = Knowledge.objects.filter(pk=slice_.pk).values_list("away_since", flat=True).first() or now
    if now - since >= PATIENCE:
        last = f" (the last one: {kinds.seen(name)})" if name else ""
        slice_.end_sync(f"{FOR_LONG}{last}.", blame=Blame.OPERATOR, retry_at=now + PATIENCE)
        return
    with slice_.writing():
        Knowledge.objects.filter(pk=slice_.pk, away_since__isnull=True).update(away_since=now)
    slice_.trouble = sentence
    slice_.troubles += 1
    if not name or slice_.troubles >= MOST_TROUBLES:
        slice_.give_up_turn(AWAY_SECONDS, sentence)

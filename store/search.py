"""Searches the store. `indexing` decides what can be found."""

from types import MappingProxyType
from typing import Final

from django.conf import settings

from bedrock_chat.identity.caller import Caller
from bedrock_chat.search import finding
from bedrock_chat.search.ranking import HEADING, Hit
from bots import listing
from bots.listing import Entry
from bots.models import Bot
from store import indexing

WEIGHTS: Final = MappingProxyType({HEADING: 3.0, indexing.DESCRIPTION: 1.0})
"""Title and description. What only an instruction holds comes after all these."""
MOST_READ: Final = 2_000
"""Documents that are read as a whole, of what is shared with a caller by name."""


def search(query: str, *, limit: int, actor: Caller) -> list[Entry]:
    """The bots that match and that the caller may see, the best first.

    1. The index gives the hits, among what the caller could see when it was indexed.
    2. Of these, the rows say which ones the caller may see now.
    3. The best of them are read.
    """
    if actor.user_id is None or not settings.BOT_STORE:
        return []
    hits, of_instructions = _hits(query, limit, actor)
    findable = Bot.objects.findable_by(actor)
    found = findable.filter(listing__in=[hit.group for hit in [*hits, *of_instructions]])
    bots = {number: (bot_id, owner_id) for number, bot_id, owner_id in found.values_list("listing", "pk", "owner_id")}
    ids = [bots[hit.group][0] for hit in hits if hit.group in bots]
    ids += [bots[hit.group][0] for hit in of_instructions if hit.group in bots and _may_read(actor, bots[hit.group][1])]
    return listing.in_order(findable, list(dict.fromkeys(ids))[:limit], actor)


def _hits(query: str, limit: int, actor: Caller) -> tuple[list[Hit], list[Hit]]:
    """The hits of titles and descriptions, and those of instructions where the others are too few.

    Somebody may be in hundreds of groups, and the index would be asked for each of them, for every word. So what is
    shared with the caller by name is read as a whole, as long as that is little.
    """
    granted = [] if actor.is_admin else indexing.granted_documents(actor, MOST_READ + 1)
    are_few = len(granted) <= MOST_READ
    scopes = indexing.scopes_of(actor, granted=not are_few)
    for reading in finding.readings(query, indexing.VOCABULARY):
        hits = finding.search(indexing.KIND, scopes, reading, weights=WEIGHTS, also=granted if are_few else ())
        of_instructions: list[Hit] = []
        if reading.every and len(hits) < limit:
            readable = indexing.instruction_scopes_of(actor)
            of_instructions = finding.search(indexing.INSTRUCTION_KIND, readable, reading)
        if hits or of_instructions:
            return hits, of_instructions
    return [], []


def _may_read(actor: Caller, owner_id: str) -> bool:
    """Whether the caller may know the instruction of a bot that they may find."""
    return actor.user_id == owner_id or actor.is_admin

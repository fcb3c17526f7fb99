"""Searches the store. `indexing` decides what can be found."""

from types import MappingProxyType
from typing import Final

from django.conf import settings

from bedrock_chat.identity.caller import ADMIN, Caller
from bedrock_chat.search import finding
from bedrock_chat.search.ranking import HEADING, Hit
from bots import listing
from bots.listing import Entry
from bots.models import Bot
from store import indexing

WEIGHTS: Final = MappingProxyType({HEADING: 3.0, indexing.DESCRIPTION: 1.0, indexing.INSTRUCTION: 0.4})
"""Title, description, instruction."""


def search(query: str, *, limit: int, actor: Caller) -> list[Entry]:
    """The bots that match and that the caller may see, the best first.

    1. The index gives the hits, among what the caller could see when it was indexed.
    2. Of these, the rows say which ones the caller may see now.
    3. The best of them are read.
    """
    if actor.user_id is None or not settings.BOT_STORE:
        return []
    result = finding.find(indexing.KIND, indexing.scopes_of(actor), indexing.VOCABULARY, query, WEIGHTS)
    findable = Bot.objects.findable_by(actor)
    found = findable.filter(listing__in=[hit.group for hit in result.hits])
    bots = {number: (bot_id, owner_id) for number, bot_id, owner_id in found.values_list("listing", "pk", "owner_id")}
    ids = []
    for hit in result.hits:
        bot_id, owner_id = bots.get(hit.group, ("", ""))
        if bot_id and _may_know(actor, hit, owner_id):
            ids.append(bot_id)
    return listing.in_order(findable, ids[:limit], actor)


def _may_know(actor: Caller, hit: Hit, owner_id: str) -> bool:
    """Whether the caller may be told of a hit: one that only the instruction makes is for the owner and Admin."""
    return hit.keys != (indexing.INSTRUCTION,) or actor.user_id == owner_id or actor.is_in(ADMIN)

"""Searches the store. `indexing` decides what can be found."""

from collections.abc import Collection, Iterator, Sequence
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
from store.models import Listing

WEIGHTS: Final = MappingProxyType({HEADING: 3.0, indexing.DESCRIPTION: 1.0})
"""Title and description. What only an instruction holds comes after all these."""
MOST_TOKENS: Final = 32
"""Words of a query that count, or characters of a script without blanks: a bot is no conversation."""
MOST_READ: Final = 2_000
"""Documents that are read as a whole, of what is shared with a caller by name."""


def search(query: str, *, limit: int, actor: Caller) -> list[Entry]:
    """The bots that match and that the caller may see, the best first.

    1. The index gives the hits, among what the caller could see when it was indexed.
    2. The best of them are read, if their rows say that the caller may see them now.
    3. If that leaves too few, the others are read, too.
    """
    if actor.user_id is None or not settings.BOT_STORE:
        return []
    hits, of_instructions = _hits(query, limit, actor)
    best = list(dict.fromkeys(hit.group for hit in [*hits, *of_instructions]))
    only_instructed = {hit.group for hit in of_instructions} - {hit.group for hit in hits}
    entries: list[Entry] = []
    for numbers in (best[: 2 * limit], best[2 * limit :]):
        if numbers and len(entries) < limit:
            entries += _readable(numbers, only_instructed, actor)
    return entries[:limit]


def _readable(numbers: Sequence[int], only_instructed: Collection[int], actor: Caller) -> Iterator[Entry]:
    """The bots of these listings that the caller may see, in their order.

    Those that match by their instruction alone are for the owner and Admin.
    """
    ids = dict(Listing.objects.filter(pk__in=numbers).values_list("pk", "bot_id"))
    instructed = {ids[number] for number in only_instructed if number in ids}
    wanted = [ids[number] for number in numbers if number in ids]
    for entry in listing.in_order(Bot.objects.findable_by(actor), wanted, actor):
        if entry.bot_id not in instructed or entry.is_owned or actor.is_admin:
            yield entry


def _hits(query: str, limit: int, actor: Caller) -> tuple[list[Hit], list[Hit]]:
    """The hits of titles and descriptions, and those of instructions where the others are too few.

    Somebody may be in hundreds of groups, and the index would be asked for each of them, for every word. So what is
    shared with the caller by name is read as a whole, as long as that is little.
    """
    granted = [] if actor.is_admin else indexing.granted_documents(actor, MOST_READ + 1)
    are_few = len(granted) <= MOST_READ
    scopes = indexing.scopes_of(actor, granted=not are_few)
    for reading in finding.readings(query, indexing.VOCABULARY, MOST_TOKENS):
        hits = finding.search(indexing.KIND, scopes, reading, weights=WEIGHTS, also=granted if are_few else ())
        of_instructions: list[Hit] = []
        if reading.every and len(hits) < limit:
            readable = indexing.instruction_scopes_of(actor)
            of_instructions = finding.search(indexing.INSTRUCTION_KIND, readable, reading)
        if hits or of_instructions:
            return hits, of_instructions
    return [], []

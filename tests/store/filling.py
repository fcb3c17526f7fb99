"""Puts many bots into the store at once, as indexing one after the other would."""

from collections.abc import Sequence

from bedrock_chat.search import index, vocabulary
from bedrock_chat.search.models import SearchDocument
from bots.models import Bot
from store import indexing
from store.models import Listing


def write(listings: Sequence[Listing]) -> None:
    """Writes the rows of listings, and those of the index. The bots are there."""
    Listing.objects.bulk_create(listings)
    change = vocabulary.Change()
    documents: list[SearchDocument] = []
    for listing in listings:
        for group, texts in indexing.groups_of(listing.pk, listing.bot):
            rows = index._rows(group, texts)
            for row in rows:
                vocabulary.count(change, row.vocabulary, row.words, 1)
            documents += rows
    SearchDocument.objects.bulk_create(documents, batch_size=2_000)
    vocabulary.apply(change)
    Bot.objects.filter(pk__in=[listing.bot_id for listing in listings]).update(is_indexed=True)

"""Searches conversations, and renders the hits. `indexing` decides what can be found."""

from collections.abc import Sequence
from typing import Final

from bedrock_chat.identity.caller import Caller
from bedrock_chat.search import finding, highlights
from bedrock_chat.search.query import Term
from bedrock_chat.search.ranking import HEADING
from bedrock_chat.wire.moments import milliseconds
from conversations.content.blocks import texts
from conversations.models import Conversation, Message
from conversations.rendering import Wire
from conversations.search import indexing

MOST_HITS: Final = 100
USUAL_HITS: Final = 20
MESSAGES_SHOWN: Final = 2
FRAGMENTS_SHOWN: Final = 3


def search(query: str, *, actor: Caller, limit: int = USUAL_HITS) -> list[Wire]:
    """The caller's conversations that match, the best first, in the JSON of `GET /conversations/search`.

    1. The index gives the hits, each a conversation with the keys of its matching documents.
    2. Only conversations whose rows are visible to the caller are kept, whatever went wrong in the index.
    3. The first matching messages of each are read, up to MESSAGES_SHOWN, and rendered with their matches marked.
    """
    scope = indexing.scope_of(actor.user_id)
    result = finding.find(indexing.KIND, [scope], scope, query)
    visible = Conversation.objects.visible_to(actor).in_bulk([hit.group for hit in result.hits[:limit]])
    hits = [hit for hit in result.hits[:limit] if hit.group in visible]
    keys_shown = {hit.group: [key for key in hit.keys if key != HEADING][:MESSAGES_SHOWN] for hit in hits}
    messages = Message.objects.filter(
        conversation__in=visible, pk__in=[key for keys in keys_shown.values() for key in keys]
    )
    texts_by_pk = {pk: "\n".join(texts(content)) for pk, content in messages.values_list("pk", "content")}
    return [
        _wire(
            visible[hit.group], result.terms, [texts_by_pk[key] for key in keys_shown[hit.group] if key in texts_by_pk]
        )
        for hit in hits
    ]


def _wire(conversation: Conversation, terms: Sequence[Term], texts: Sequence[str]) -> Wire:
    """A hit with its highlights. `Title` and `MessageBody` are the names that the frontend knows."""
    title = highlights.marked(conversation.title, terms)
    bodies: list[str] = []
    for text in texts:
        if len(bodies) < FRAGMENTS_SHOWN:
            bodies += highlights.fragments(text, terms, most=FRAGMENTS_SHOWN - len(bodies))
    marked = [("Title", [title] if title else []), ("MessageBody", bodies)]
    return {
        "id": conversation.external_id,
        "title": conversation.title,
        "lastUpdatedTime": milliseconds(conversation.updated_at),
        "botId": conversation.bot_id,
        "highlights": [{"fieldName": name, "fragments": fragments} for name, fragments in marked if fragments] or None,
    }

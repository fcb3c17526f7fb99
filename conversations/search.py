"""Search in conversations: what is found, and how an answer reads. `indexing` has what is searched."""

from collections.abc import Sequence
from typing import Final

from bedrock_chat.identity.caller import Caller
from bedrock_chat.search import finding, highlights
from bedrock_chat.search.query import Term
from bedrock_chat.search.ranking import HEADING
from conversations import indexing
from conversations.content.blocks import texts
from conversations.models import Conversation, Message
from conversations.rendering import Wire, milliseconds

MOST_HITS: Final = 100
USUAL_HITS: Final = 20
MESSAGES_SHOWN: Final = 2
FRAGMENTS_SHOWN: Final = 3


def search(query: str, *, actor: Caller, limit: int = USUAL_HITS) -> list[Wire]:
    """The caller's conversations that answer, the best first, as `GET /conversations/search` tells them."""
    scope = indexing.scope_of(actor.user_id)
    found = finding.find(indexing.KIND, [scope], scope, query)
    # What the index says is confirmed by the rows: nobody reads what they may not, whatever went wrong there.
    visible = Conversation.objects.visible_to(actor).in_bulk([hit.group for hit in found.hits[:limit]])
    hits = [hit for hit in found.hits[:limit] if hit.group in visible]
    shown = {hit.group: [key for key in hit.keys if key != HEADING][:MESSAGES_SHOWN] for hit in hits}
    messages = Message.objects.filter(conversation__in=visible, pk__in=[key for keys in shown.values() for key in keys])
    texts_by_pk = {pk: "\n".join(texts(content)) for pk, content in messages.values_list("pk", "content")}
    return [
        _wire(visible[hit.group], found.terms, [texts_by_pk[key] for key in shown[hit.group] if key in texts_by_pk])
        for hit in hits
    ]


def _wire(conversation: Conversation, terms: Sequence[Term], texts: Sequence[str]) -> Wire:
    """`Title` and `MessageBody` are the names that the frontend knows."""
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
        "highlights": [{"fieldName": name, "fragments": found} for name, found in marked if found] or None,
    }

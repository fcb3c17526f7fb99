"""Stopping a turn, from whichever process its user's request came to.

The wish is a column of the question's row, for one attempt. The process that runs the turn ends it at once where it got
the request itself, is told so through Redis where there is one, and otherwise finds the wish in the database.
"""

from django.db.models import F

from bedrock_chat.database import compiled_sql
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from conversations import access
from conversations.models import Message, lease_lives
from conversations.streaming import relay
from conversations.turn import registry

POLL_SECONDS = 0.5
LOOKS_SPARED = 9  # of ten, while Redis tells: only for what it lost

_spared = 0


def stop(conversation_external_id: str, message_external_id: str, *, actor: Caller) -> None:
    """Ends the turn at that question; what the model has said so far is kept. Nothing to do where it is over.

    Raises NotFound where the conversation is not the caller's, or the id names no question in it.
    """
    conversation = access.get_conversation(actor, conversation_external_id)
    question = access.get_question(conversation, message_external_id)
    if not lease_lives(question.lease_expires_at, database_now()):
        return
    if not registry.stop(question.pk, question.attempt):
        compiled_sql.update(Message, {"pk": question.pk, "attempt": question.attempt}, stop_attempt=question.attempt)
        relay.ask_to_stop(question.lease_holder, question.pk, question.attempt)


def obey() -> None:
    """Ends the turns of this process that somebody wants stopped. One query, and none while nothing runs."""
    global _spared  # noqa: PLW0603  the heartbeat alone calls this
    if relay.hears() and _spared < LOOKS_SPARED:
        _spared += 1
        return
    _spared = 0
    attempts = dict(each.key for each in registry.all_running())
    if not attempts:
        return
    wanted = Message.objects.filter(pk__in=attempts, stop_attempt=F("attempt")).values_list("pk", "attempt")
    for question, attempt in wanted:
        registry.stop(question, attempt)

"""Stopping a turn, from whichever process its user's request came to.

The wish is a column of the question's row, for one attempt. The process that runs the turn ends it at once where it got
the request itself, is told so through Redis where there is one, and otherwise finds the wish in the database.
"""

from django.db.models import F

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from conversations import access
from conversations.models import Message, lease_lives
from conversations.turn import registry, stop_channel

POLL_SECONDS = 0.5
POLLS_WITH_REDIS = 10
"""With Redis up, the database is polled every tenth time, for requests that Redis lost."""

_polls_skipped = 0


def stop(conversation_external_id: str, message_external_id: str, *, actor: Caller) -> None:
    """Ends the turn at that question; what the model has said so far is kept. Nothing to do where it is over.

    Raises NotFound where the conversation is not the caller's, or the id names no question in it.
    """
    conversation = access.get_conversation(actor, conversation_external_id)
    question = access.get_question(conversation, message_external_id)
    if not lease_lives(question.lease_expires_at, database_now()):
        return
    if not registry.stop(question.pk, question.attempt):
        Message.objects.filter(pk=question.pk, attempt=question.attempt).update(stop_attempt=question.attempt)
        stop_channel.request_stop(question.lease_holder, question.pk, question.attempt)


def obey() -> None:
    """Ends the turns of this process that somebody wants stopped. One query, and none while nothing runs.

    The heartbeat alone calls this, every POLL_SECONDS.
    """
    global _polls_skipped  # noqa: PLW0603  of this process
    stop_channel.listen()
    if stop_channel.is_listening() and _polls_skipped < POLLS_WITH_REDIS - 1:
        _polls_skipped += 1
        return
    _polls_skipped = 0
    questions = [running.turn.question_pk for running in registry.all_running()]
    if not questions:
        return
    wanted = Message.objects.filter(pk__in=questions, stop_attempt=F("attempt")).values_list("pk", "attempt")
    for question_pk, attempt in wanted:
        registry.stop(question_pk, attempt)

"""Stops a turn, whichever process gets its user's request.

If the process that gets the request runs the turn, it ends the turn at once. Otherwise it writes the attempt to stop
into the question's row, and also sends it through Redis if there is one. The process that runs the turn hears it from
Redis, or finds it in the database.
"""

from django.db import transaction
from django.db.models import F

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from conversations import access
from conversations.models import Message, MessageQuerySet, lease_lives
from conversations.turn import registry, stop_channel

POLL_SECONDS = 0.5
POLLS_WITH_REDIS = 10
"""With Redis up, the database is polled every tenth time, for requests that Redis lost."""

_polls_skipped = 0


def stop(conversation_external_id: str, message_external_id: str, *, actor: Caller) -> None:
    """Ends the turn of that question; the answer so far is kept. Does nothing if the turn is over.

    Raises NotFound if the conversation is not the caller's, or if the id names no question in it.
    """
    conversation = access.get_conversation(actor, conversation_external_id)
    question = access.get_question(conversation, message_external_id)
    if not lease_lives(question.lease_expires_at, database_now()):
        return
    if not registry.stop(question.pk, question.attempt):
        Message.objects.filter(pk=question.pk, attempt=question.attempt).update(stop_attempt=question.attempt)
        stop_channel.request_stop(question.lease_holder, question.pk, question.attempt)


def stop_all(questions: MessageQuerySet) -> None:
    """Ends the turns of these questions that run, in the caller's transaction; their processes know when it commits."""
    running = questions.running(database_now())
    turns = list(running.values_list("lease_holder", "pk", "attempt"))
    running.update(stop_attempt=F("attempt"))

    def tell() -> None:
        for holder, question_pk, attempt in turns:
            if not registry.stop(question_pk, attempt):
                stop_channel.request_stop(holder, question_pk, attempt)

    transaction.on_commit(tell)


def apply_stop_requests() -> None:
    """Ends the turns of this process that their users want stopped.

    1. The process begins to listen for stop requests through Redis, if it does not listen already.
    2. While Redis is up, only one call of POLLS_WITH_REDIS looks into the database.
    3. One query finds the stop requests for turns that run here; there is none while no turn runs. Those turns end.

    Only the heartbeat calls this, every POLL_SECONDS.
    """
    global _polls_skipped  # noqa: PLW0603  of this process
    stop_channel.listen()
    if stop_channel.is_listening() and _polls_skipped < POLLS_WITH_REDIS - 1:
        _polls_skipped += 1
        return
    _polls_skipped = 0
    question_pks = [running.turn.question_pk for running in registry.all_running()]
    if not question_pks:
        return
    requests = Message.objects.filter(pk__in=question_pks, stop_attempt=F("attempt")).values_list("pk", "attempt")
    for question_pk, attempt in requests:
        registry.stop(question_pk, attempt)

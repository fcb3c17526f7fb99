"""Comes back to a turn that runs in this process, runs in another one, or is over."""

from functools import partial

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from conversations import access
from conversations.models import lease_lives
from conversations.streaming import driver, remote, replay, sse
from conversations.streaming.log import Subscription, once


def resume(
    conversation_external_id: str, message_external_id: str, last_event_id: str, *, actor: Caller
) -> Subscription | None:
    """The events of a question's newest turn after the last one seen; None if that one was the turn's last.

    1. A turn that is over is replayed from the beginning, as a listener would have received it.
    2. A turn of this process is followed in its log.
    3. Any other turn is followed by `remote`.

    Raises NotFound, and ServiceUnavailable if twice as many streams are open as this process has threads.
    """
    sse.refuse_more()
    conversation = access.get_conversation(actor, conversation_external_id)
    question = access.get_question(conversation, message_external_id)
    attempt = question.attempt
    if not lease_lives(question.lease_expires_at, database_now()):
        if last_event_id == sse.end_of(attempt):
            return None
        return Subscription(attempt, once(replay.events_of_newest_turn(actor, conversation, question)))
    offset = sse.position_of(last_event_id, attempt)
    if (log := driver.find(question.pk, attempt)) is not None:
        return Subscription(attempt, log.follow(offset if offset <= len(log.events) else 0))
    return Subscription(attempt, remote.follow(question, offset, partial(remote.end_if_over, actor, question)))

"""Coming back to a turn: to what it says now, to what it says in another process, or to what it has said."""

from django.conf import settings

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import ServiceUnavailable
from conversations import access
from conversations.models import lease_lives
from conversations.streaming import driver, remote, sse
from conversations.streaming.log import once
from conversations.streaming.replay import told_anew
from conversations.streaming.sse import Listened


def resume(
    conversation_external_id: str, message_external_id: str, last_event_id: str, *, actor: Caller
) -> Listened | None:
    """The events of a question's newest turn behind the last one seen; None where that was the turn's end.

    A turn that is over is told from the beginning, as a client of the stored answer would have heard it. Raises
    NotFound, and ServiceUnavailable where twice as many streams are open as this process has threads.
    """
    if sse.streams_open() >= settings.THREADS * 2:
        raise ServiceUnavailable("This server has as many streams open as it can; try again.", retry_after=5)
    conversation = access.get_conversation(actor, conversation_external_id)
    question = access.get_question(conversation, message_external_id)
    attempt = question.attempt
    if not lease_lives(question.lease_expires_at, database_now()):
        if last_event_id == sse.end_of(attempt):
            return None
        return Listened(attempt, once(told_anew(actor, conversation, question)))
    offset = sse.position_of(last_event_id, attempt)
    if (log := driver.find(question.pk, attempt)) is not None:
        return Listened(attempt, log.follow(offset if offset <= len(log.pieces) else 0))
    return Listened(attempt, remote.follow(actor, question, offset))

"""Coming back to a turn: to what it says now, to what it says in another process, or to what it has said."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from redis.exceptions import RedisError

from bedrock_chat import draining, threads
from bedrock_chat.database import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import Conflict, NotFound, ServiceUnavailable
from conversations import access, usage
from conversations.models import Conversation, Message, Outcome, Role
from conversations.streaming import relay, sse, turns
from conversations.streaming.log import Batch
from conversations.streaming.pieces import WAITING, Piece, failed, replayed, started

POLL_SECONDS = 1.0
QUIET_SECONDS = 15.0
ELSEWHERE = "Another process is answering this message. The whole answer follows when it is complete."


@dataclass(frozen=True, slots=True)
class Resumed:
    """A turn that somebody listens to again."""

    attempt: int
    batches: AsyncGenerator[Batch, None]


def resume(conversation_id: str, message_id: str, last_event_id: str, *, actor: Caller) -> Resumed | None:
    """The events of a question's newest turn behind the last one seen; None where that was the turn's end.

    A turn that is over is told from the beginning, as a client of the stored answer would have heard it. Raises
    NotFound.
    """
    conversation = access.get_conversation(actor, conversation_id)
    question = access.get_question(conversation, message_id)
    attempt = question.attempt
    if question.lease_expires_at is None or question.lease_expires_at <= database_now():
        if last_event_id == sse.end_of(attempt):
            return None
        return Resumed(attempt, _unnumbered(stored(actor, conversation, question)))
    offset = sse.position_of(last_event_id, attempt)
    if (log := turns.find(question.pk, attempt)) is not None:
        return Resumed(attempt, log.follow(offset if offset <= len(log.pieces) else 0))
    return Resumed(attempt, _elsewhere(actor, question, offset))


def stored(actor: Caller, conversation: Conversation, question: Message) -> list[Piece]:
    """What there is of a turn that is over."""
    ids = {"conversationId": conversation.conversation_id, "messageId": question.message_id}
    row = Message.objects.filter(parent=question, role=Role.ASSISTANT).order_by("-pk").first()
    if question.outcome == Outcome.FAILED or row is None:
        none = Conflict("This message was not answered; send it again.", extra=ids)
        return [started(conversation.conversation_id, question.message_id, None), failed(none)]
    answer = access.stored_answer(conversation, question.message_id, row)
    call = usage.newest_call(actor, conversation.conversation_id, question.message_id)
    return list(replayed(answer, call))


async def _unnumbered(pieces: list[Piece]) -> AsyncGenerator[Batch, None]:
    yield sse.NOWHERE, pieces


async def _elsewhere(actor: Caller, question: Message, offset: int) -> AsyncGenerator[Batch, None]:
    """The turn of another process, or one that nobody listened to from its beginning."""
    over = partial(threads.shared().run, partial(_told_when_over, actor, question))
    if settings.REDIS_URL:
        with contextlib.suppress(relay.Gap, RedisError):
            relayed = relay.follow(question.lease_holder, question.pk, question.attempt, offset)
            async with contextlib.aclosing(relayed):
                async for batch in relayed:
                    if not batch[1] and (pieces := await over()) is not None:
                        yield sse.NOWHERE, pieces  # its process died, or what it last said was lost
                        return
                    yield batch
            return
    yield sse.NOWHERE, [(WAITING, {"detail": ELSEWHERE})]
    quiet = 0.0
    while (pieces := await over()) is None:
        await asyncio.sleep(POLL_SECONDS)
        quiet += POLL_SECONDS
        if quiet >= QUIET_SECONDS:
            quiet = 0.0
            yield sse.NOWHERE, []
    yield sse.NOWHERE, pieces


def _told_when_over(actor: Caller, question: Message) -> list[Piece] | None:
    """The end of a turn, or of this process; None while neither has come."""
    if draining.draining():
        return [failed(ServiceUnavailable("This server is shutting down; connect again.", retry_after=1))]
    found = Message.objects.select_related("conversation").filter(pk=question.pk).defer("content").first()
    if found is None:
        return [failed(NotFound("The conversation was deleted meanwhile."))]
    if found.attempt == question.attempt and found.lease_expires_at and found.lease_expires_at > database_now():
        return None
    return stored(actor, found.conversation, found)

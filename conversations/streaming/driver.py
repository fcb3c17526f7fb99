"""Turns with listeners: each runs on a thread of its own to its end, whoever stays to hear it."""

import contextvars
import threading
from collections.abc import Iterator

from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.process import thread_pool
from bedrock_chat.wire.errors import ServiceUnavailable, recorded
from conversations.streaming import relay
from conversations.streaming.events import failed, piece_of, replayed, started
from conversations.streaming.log import Log, once
from conversations.streaming.sse import Listened
from conversations.turn import lifecycle
from conversations.turn.types import ChatInput, Finished, TurnEvent, TurnOpened

_lock = threading.Lock()
_logs: dict[tuple[int, int], Log] = {}


def begin(actor: Caller, chat: ChatInput) -> Listened:
    """Opens a turn, and lets it run; gives what happens in it.

    Raises whatever refuses it, before anything happens. A question that was answered before has its answer told anew.
    """
    events = lifecycle.run(actor, chat, listened=True)
    first = next(events)
    if isinstance(first, TurnOpened):
        key = first.question, first.attempt
        log = Log(relay.publisher(*key))
        with _lock:
            _logs[key] = log
        log.append(
            started(
                first.conversation_external_id,
                first.question_external_id,
                first.answer_external_id,
                first.continued_text,
            )
        )
        context = contextvars.copy_context()  # what the turn binds belongs to the request's line in the log
        thread_pool.shared().submit(lambda: context.run(_drive, events, first, log))
        return Listened(first.attempt, log.follow())
    assert isinstance(first, Finished)
    assert first.answer is not None  # a stored one
    events.close()
    answer = first.answer
    calls = recording.calls_of_newest_turn(actor, answer.conversation_external_id, answer.question_external_id)
    return Listened(answer.attempt, once(list(replayed(answer, calls))))


def find(question: int, attempt: int) -> Log | None:
    """The log of a turn that this process runs, where somebody listened from its beginning."""
    return _logs.get((question, attempt))


def abandon() -> None:
    """Ends the logs of turns that did not end when they were interrupted: their listeners are owed a word."""
    with _lock:
        logs = list(_logs.values())
    for log in logs:
        ids = {name: log.pieces[0][1][name] for name in ("conversationId", "messageId")}
        leaving = "This server is shutting down; send the message again."
        log.append(failed(ServiceUnavailable(leaving, retry_after=1, extra=ids)))


def _drive(events: Iterator[TurnEvent], start: TurnOpened, log: Log) -> None:
    append = log.append
    try:
        for event in events:
            if (piece := piece_of(event, start)) is not None:
                append(piece)
    except Exception as error:  # noqa: BLE001  its listeners are told, and what is our fault is recorded
        append(failed(recorded(error)))
    finally:
        with _lock:
            del _logs[start.question, start.attempt]
        release_connection()

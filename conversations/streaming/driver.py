"""Runs turns that clients listen to: each on a thread of its own, to its end, even if all its clients leave."""

import contextvars
from collections.abc import Iterator

from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process import thread_pool
from bedrock_chat.wire.errors import recorded
from conversations.streaming import relay, replay
from conversations.streaming.events import Failed, MessageStart, stream_event_of
from conversations.streaming.log import Log, Subscription, once
from conversations.turn import lifecycle, registry
from conversations.turn.types import ChatInput, Finished, TurnEvent, TurnOpened


def begin(chat: ChatInput, *, actor: Caller) -> Subscription:
    """Opens a turn, starts it on a thread, and subscribes to its events.

    1. The turn runs up to its first event on the calling thread. So if it is refused, the error is raised here.
    2. If the question was answered before, its stored answer is replayed.
    3. Otherwise `message_start` goes into the turn's log, and a thread does the rest (`_drive`).
    """
    log = Log()
    events = lifecycle.run(chat, actor=actor, listener=log)
    match next(events):
        case TurnOpened() as opened:
            tell(opened, opened, log, actor)
            context = contextvars.copy_context()  # what the turn binds is to appear in the log line of the request
            thread_pool.shared().submit(lambda: context.run(_drive, events, opened, log, actor))
            return Subscription(opened.attempt, log.follow(), opened.headers)
        case Finished(answer) if answer is not None:
            events.close()
            return Subscription(answer.attempt, once(replay.events_of_answer(actor, answer)))
        case other:
            raise AssertionError(f"A turn begins with its opening or with a stored answer, not with {other!r}.")


def tell(event: TurnEvent, opened: TurnOpened, log: Log, actor: Caller) -> None:
    """Appends to a log what clients are told of an event of the turn that began with `opened`.

    A turn that ends with the answer of another one tells that answer from its beginning, `message_start` included.
    """
    if event is opened:
        log.attempt = opened.attempt
        log.publish = relay.publisher(opened.question_pk, opened.attempt)
        ids = opened.conversation_external_id, opened.question_external_id, opened.answer_external_id
        log.append(MessageStart(*ids, opened.continued_text))
    elif isinstance(event, Finished) and event.is_another and event.answer is not None:
        for retold in replay.events_of_answer(actor, event.answer):
            log.append(retold)
    elif (stream_event := stream_event_of(event, opened)) is not None:
        log.append(stream_event)


def find(question_pk: int, attempt: int) -> Log | None:
    """The log of a turn; None if this process does not run it, or if nobody listened at its beginning."""
    running = registry.find(question_pk, attempt)
    return running.listener if running is not None and isinstance(running.listener, Log) else None


def abandon() -> None:
    """Ends the logs of runs that did not end when they were interrupted, so that their listeners get a last event."""
    for running in (*registry.all_running(), *registry.other_runs()):
        log = running.listener
        if isinstance(log, Log):
            log.append(Failed.leaving() if log.goes_on else Failed.of(lifecycle.shutting_down(running)))


def _drive(events: Iterator[TurnEvent], opened: TurnOpened, log: Log, actor: Caller) -> None:
    """Runs a turn to its end, and appends its events to the log."""
    try:
        for event in events:
            tell(event, opened, log, actor)
    except Exception as error:  # noqa: BLE001  listeners get it as an event; it is logged if the fault is ours
        log.append(Failed.of(recorded(error)))
    finally:
        release_connection()

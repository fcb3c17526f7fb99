"""A turn: the user's message is stored, the model is asked, the answer is stored. Whoever asks consumes its events.

    open    one short transaction: access, the conversation's row locked, the question stored with a lease
    ask     no transaction, no pooled connection: prompt → model → events
    close   one short transaction, fenced by the attempt: answer, ledger, lease given back

Between open and close the rows already say what is true if the process dies now, once its lease is over: the question
failed, or, after a checkpoint, its answer was interrupted. All that a turn knows of transport is whether anybody
listens.
"""

import time
from collections.abc import Callable, Generator, Iterator

from bedrock_chat.bedrock import events, offering, request, runtime
from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.bedrock.faults import ModelFault, TooLong
from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import Purpose
from bedrock_chat.wire.errors import ApiError, BadRequest, Conflict, NotFound, ServiceUnavailable
from conversations import access, upkeep
from conversations.content import parsing
from conversations.models import Outcome
from conversations.turn import admission, asking, closing, context_window, opening
from conversations.turn.registry import RunningTurn, registered
from conversations.turn.types import Answer, ChatInput, Finished, OpenTurn, TurnEvent, TurnOpened


def run(
    actor: Caller, chat: ChatInput, on_close: Callable[[], None] | None = None, *, listened: bool = False
) -> Generator[TurnEvent, None, None]:
    """One turn from the question to the stored answer.

    `listened`: somebody waits for the words as they come. `on_close` runs inside the closing transaction and may raise
    LeaseLost. Raises the errors of `placement`, NotFound, ServiceUnavailable beyond `TURNS` or while the process ends,
    and the model's faults; an error after the question was stored carries `conversationId` and `messageId`.
    """
    with admission.admitted():
        _check(chat)
        if not chat.continue_generate:
            storing.store(chat.content.bodies)
        turn = opening.open_turn(actor, chat)
        if isinstance(turn, Answer):
            yield Finished(turn)
            return
        upkeep.begin()
        running = RunningTurn(turn, listened=listened)
        with registered(running):
            yield TurnOpened(
                chat.conversation_external_id,
                turn.question_external_id,
                turn.answer_external_id,
                turn.question,
                turn.attempt,
                continued_text=parsing.text_to_extend(turn.bodies[turn.extends.pk]) if turn.extends else None,
            )
            yield from _ask(running, on_close)


def drain(turn_events: Iterator[TurnEvent]) -> Answer:
    """The stored answer of a turn that nobody listens to. Raises Conflict where its user stopped it."""
    stored: dict[str, str] = {}
    answer = None
    for event in turn_events:
        match event:
            case TurnOpened():
                stored = {"conversationId": event.conversation_external_id, "messageId": event.question_external_id}
            case Finished():
                answer = event.answer
    if answer is None:
        raise Conflict("The turn was stopped before the model had answered.", extra=stored)
    return answer


def _check(chat: ChatInput) -> None:
    """What can be refused without looking at the conversation."""
    if chat.bot_id:
        raise NotFound(f"No bot found with id: {chat.bot_id}")
    if not offering.is_offered(chat.model):
        raise BadRequest(f"message.model: {chat.model.key} is not available here.")
    if chat.continue_generate:
        if chat.model.prefill is not True:
            raise BadRequest(f"message.model: {chat.model.display_name} cannot continue an answer.")
    elif not chat.content.says_something():
        raise BadRequest("message.content: a message needs text, an image or a document.")


def _ask(running: RunningTurn, on_close: Callable[[], None] | None) -> Iterator[TurnEvent]:
    try:
        read = _reader(running.turn)
        release_connection()
        asked = _compose(running.turn, read)
    except BaseException:
        closing.close_failed(running)
        raise
    try:
        stop_reason = yield from _call(running, asked)
    except BaseException as error:
        recording.log_spending(running.calls)
        cut = running.settled()
        finished = _close_cut(running, cut, on_close)
        if cut is not StopReason.STOPPED or isinstance(error, GeneratorExit):
            told = _told(running, cut, asked, error)
            if told is error:
                raise
            raise told from error
    else:
        recording.log_spending(running.calls)
        said = parsing.from_converse(running.built.blocks())
        answer = closing.close_turn(running, said, stop_reason=stop_reason, on_close=on_close)
        finished = Finished(answer, tuple(running.calls))
    yield finished


def _call(running: RunningTurn, asked: request.ModelRequest) -> Generator[TurnEvent, None, str]:
    """One round: passes on what the model says, and returns its stop reason. Raises the model's faults.

    However the call ends, its ledger row joins `running.calls`.
    """
    started, before = time.monotonic(), len(running.built.blocks())
    closed: events.Closed | None = None
    fault, stop_reason = "", ""
    try:
        for event in runtime.call(asked, stream=running.listened, interrupt=running.interrupt):
            running.built.feed(event)
            closed = event if isinstance(event, events.Closed) else closed
            yield event
    except BaseException as error:
        match running.settled():
            case StopReason.STOPPED:
                stop_reason = StopReason.STOPPED.value
            case StopReason.INTERRUPTED:
                fault = "Shutdown"
            case None:
                fault = error.code if isinstance(error, ModelFault) else type(error).__name__
        raise
    finally:
        turn, said = running.turn, running.built.blocks()[before:]
        call = recording.build_call(
            turn.actor,
            asked,
            purpose=Purpose.TURN,
            conversation_external_id=turn.chat.conversation_external_id,
            message_external_id=turn.question_external_id,
            turn_id=turn.turn_id,
            closed=None if fault or stop_reason else closed,
            latency_ms=int((time.monotonic() - started) * 1000),
            fault=fault,
            stop_reason=stop_reason,
            said=said if closed or said or (stop_reason and running.interrupt.asked) else None,
        )
        running.calls.append(call)
    assert closed is not None  # the last event of every call that did not raise
    return closed.stop_reason


def _close_cut(running: RunningTurn, cut: StopReason | None, on_close: Callable[[], None] | None) -> Finished:
    """Closes a turn whose model did not finish: with what it has said, if that is text, else without an answer."""
    stopped = cut is StopReason.STOPPED
    if not running.built.has_text():
        closing.close_failed(running)
        return Finished(None, tuple(running.calls))
    answer = closing.close_turn(
        running,
        parsing.from_converse(running.built.blocks()),
        stop_reason=StopReason.STOPPED if stopped else StopReason.INTERRUPTED,
        outcome=Outcome.ANSWERED if stopped else Outcome.INTERRUPTED,
        on_close=on_close if stopped else None,
    )
    return Finished(answer, tuple(running.calls))


def _told(
    running: RunningTurn, cut: StopReason | None, asked: request.ModelRequest, error: BaseException
) -> BaseException:
    """The error as its client is to hear it, with the ids of the question that survives it."""
    if isinstance(error, TooLong):
        error = context_window.explained(error, asked)
    if cut is StopReason.INTERRUPTED and isinstance(error, Exception):
        error = ServiceUnavailable("This server is shutting down; send the message again.", retry_after=1)
    if isinstance(error, ApiError):
        error.extra = {**error.extra, **running.turn.ids}
    return error


def _reader(turn: OpenTurn) -> access.BlobReader:
    """What reads the files of the branch. Those of the question itself are at hand; if there are others, one query."""
    read = access.BlobReader(turn.chat.content.bodies)
    read.expect(sha256 for node in turn.path if node.is_question for sha256 in parsing.blob_shas(turn.bodies[node.pk]))
    return read


def _compose(turn: OpenTurn, read: access.BlobReader) -> request.ModelRequest:
    chat = turn.chat
    messages = asking.build(turn.path, turn.bodies, read)
    if turn.extends:
        messages = asking.prefill(messages)
    else:
        messages.append({"role": "user", "content": parsing.question_to_converse(chat.content.blocks, read)})
    return request.compose(
        chat.model,
        offering.route(chat.model),
        messages,
        instruction=turn.conversation.instruction,
        reasoning=chat.enable_reasoning and not turn.extends,
    )

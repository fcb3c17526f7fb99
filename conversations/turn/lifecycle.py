"""A turn: the user's message is stored, the model is asked, the answer is stored. Whoever asks consumes its events.

    open    one short transaction: access, the conversation's row locked, the question stored with a lease
    ask     no transaction, no pooled connection: prompt → model → events
    close   one short transaction, fenced by the attempt: answer, ledger, lease given back

Between open and close the rows already say what is true if the process dies now, once its lease is over: the question
failed, or, after a checkpoint, its answer was interrupted. All that a turn knows of transport is whether anybody
listens.
"""

from collections.abc import Callable, Generator, Iterator

from bedrock_chat.bedrock import offering
from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.bedrock.faults import TooLong
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.blobs import storing
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.wire.errors import ApiError, BadRequest, Conflict, NotFound, ServiceUnavailable
from conversations.access import Answer
from conversations.content.blocks import text_to_extend
from conversations.models import Outcome
from conversations.turn import admission, asking, closing, context_window, file_limits, opening
from conversations.turn.registry import RunningTurn, registered
from conversations.turn.types import ChatInput, Finished, TurnEvent, TurnOpened, wire_ids

OnClose = Callable[[], None]


def run(
    chat: ChatInput, *, actor: Caller, on_close: OnClose | None = None, listener: object | None = None
) -> Generator[TurnEvent, None, None]:
    """One turn from the question to the stored answer.

    1. The turn is counted, or refused where the process runs as many as it may.
    2. What can be refused without looking at the conversation is refused.
    3. The question's files are stored, outside of any transaction, unless the model cannot take them: then `opening`
       refuses the question, or finds that it was answered before.
    4. `opening` stores the question. Where it was answered before, the stored answer is all there is to tell.
    5. The model is asked and the answer stored (`_answer`), while others find the turn in `registry`.

    `listener`: who waits for the words as they come. `on_close` runs inside the closing transaction and may raise
    LeaseLost. Raises the errors of `placement`, NotFound, ServiceUnavailable beyond `TURNS` or while the process ends,
    and the model's faults; an error after the question was stored carries `conversationId` and `messageId`.
    """
    with admission.admitted():
        _refuse_at_once(chat)
        if not chat.continue_generate and file_limits.are_kept(chat):
            storing.store(chat.content.files)
        turn = opening.open_turn(chat, actor=actor)
        if isinstance(turn, Answer):
            yield Finished(turn)
            return
        running = RunningTurn(turn, listener=listener)
        with registered(running):
            yield TurnOpened(
                turn.conversation.external_id,
                turn.question_external_id,
                turn.answer_external_id,
                turn.question_pk,
                turn.attempt,
                continued_text=text_to_extend(turn.contents[turn.extends.pk]) if turn.extends else None,
            )
            yield from _answer(running, on_close)


def drain(turn_events: Iterator[TurnEvent]) -> Answer:
    """The stored answer of a turn that nobody listens to. Raises Conflict where its user stopped it."""
    ids: dict[str, str] = {}
    answer = None
    for event in turn_events:
        match event:
            case TurnOpened():
                ids = wire_ids(event.conversation_external_id, event.question_external_id)
            case Finished():
                answer = event.answer
    if answer is None:
        raise Conflict("The turn was stopped before the model had answered.", extra=ids)
    return answer


def _refuse_at_once(chat: ChatInput) -> None:
    """Refuses what can be refused without looking at the conversation."""
    if chat.bot_id:
        raise NotFound(f"No bot found with id: {chat.bot_id}")
    if not offering.is_offered(chat.model):
        raise BadRequest(f"message.model: {chat.model.key} is not available here.")
    if chat.continue_generate:
        if chat.model.prefill is not True:
            raise BadRequest(f"message.model: {chat.model.display_name} cannot continue an answer.")
    elif not chat.content.says_something():
        raise BadRequest("message.content: a message needs text, an image or a document.")


def _answer(running: RunningTurn, on_close: OnClose | None) -> Iterator[TurnEvent]:
    """Asks the model and closes the turn.

    1. The request is composed. Where that fails nothing was asked, and the turn closes as failed.
    2. The model's events are passed on.
    3. When it has finished, the turn closes with its answer.
    4. When it was cut short, the turn closes with what it has said so far, if that is text. A user who stopped it gets
       an ordinary end; for everybody else the fault is raised.
    """
    try:
        model_request = asking.compose(running.turn)
    except BaseException:
        closing.close_failed(running)
        raise
    try:
        stop_reason = yield from asking.call(running, model_request)
    except BaseException as error:
        recording.log_spending(running.calls)
        ended_by = running.settle()
        finished = _close_cut(running, ended_by, on_close)
        if ended_by is not StopReason.STOPPED or isinstance(error, GeneratorExit):
            explained = _explained(error, running, model_request)
            if explained is error:
                raise
            raise explained from error
    else:
        recording.log_spending(running.calls)
        answer = closing.close_turn(running, stop_reason, on_close=on_close)
        finished = Finished(answer, tuple(running.calls))
    yield finished


def _close_cut(running: RunningTurn, ended_by: StopReason | None, on_close: OnClose | None) -> Finished:
    """Closes a turn whose model did not finish: with what it has said, if that is text, else without an answer."""
    if not running.answer.has_text():
        closing.close_failed(running)
        return Finished(None, tuple(running.calls))
    if ended_by is StopReason.STOPPED:
        answer = closing.close_turn(running, StopReason.STOPPED, on_close=on_close)
    else:
        answer = closing.close_turn(running, StopReason.INTERRUPTED, outcome=Outcome.INTERRUPTED)
    return Finished(answer, tuple(running.calls))


def _explained(error: BaseException, running: RunningTurn, model_request: ModelRequest) -> BaseException:
    """The error as its client is to hear it, with the ids of the question that survives it."""
    if isinstance(error, TooLong):
        error = context_window.explained(error, model_request)
    if running.settle() is StopReason.INTERRUPTED and isinstance(error, Exception):
        error = ServiceUnavailable("This server is shutting down; send the message again.", retry_after=1)
    if isinstance(error, ApiError):
        error.extra = {**error.extra, **running.turn.ids}
    return error

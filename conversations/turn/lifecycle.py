"""A turn: the user's message is stored, the model is asked, the answer is stored. The caller consumes its events.

    open    one short transaction: access, the conversation's row locked, the question stored with a lease
    ask     no transaction, no pooled connection: prompt → model → events
    close   one short transaction, fenced by the attempt: answer, ledger, lease given back

Between open and close the rows already say what is true if the process dies now: the question failed or, after a
checkpoint, its answer was interrupted. This counts once the lease has run out. Of the transport a turn knows only
whether anybody listens.
"""

from collections.abc import Callable, Generator, Iterator

from bedrock_chat.bedrock import offering
from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.bedrock.faults import TooLong
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.wire.errors import ApiError, BadRequest, Conflict, ServiceUnavailable
from conversations import access
from conversations.access import Answer
from conversations.content.blocks import text_to_extend
from conversations.models import Outcome
from conversations.turn import (
    admission,
    asking,
    closing,
    context_window,
    continuing,
    file_limits,
    measuring,
    opening,
    passages,
    placement,
    rounds,
)
from conversations.turn.registry import Run, RunningTurn, registered
from conversations.turn.types import ChatInput, Finished, OpenTurn, TurnEvent, TurnOpened, wire_ids

OnClose = Callable[[], None]

STOPPED = "The turn was stopped before the model had answered."


def run(
    chat: ChatInput, *, actor: Caller, on_close: OnClose | None = None, listener: object | None = None
) -> Generator[TurnEvent, None, None]:
    """Runs one turn, from the question to the stored answer, and yields its events.

    1. The turn is counted, or refused if the process runs as many turns as it may.
    2. The request is refused if that can be decided without the conversation (`_refuse_at_once`).
    3. The question's files are stored, outside of any transaction, unless the model cannot take them. Then `opening`
       refuses the question, or finds that it was answered before.
    4. `opening` stores the question. If it was answered before, the stored answer is the only event.
    5. The model is asked and the answer stored (`_answer`). Meanwhile others find the turn in `registry`.
    6. If another process has taken the turn over, because this one slept past its lease, that turn's answer is the last
       event (`_answer_of_successor`).

    `listener` is the object that takes the answer as it is written; None if nobody listens. `on_close` runs inside the
    closing transaction and may raise LeaseLost. Raises the errors of `placement`, NotFound, ServiceUnavailable and
    TooManyRequests of `admission`, BudgetExceeded and Unpriced of `spending`, and the model's faults. An error after
    the question was stored carries `conversationId` and `messageId`.
    """
    with admission.admitted(actor):
        _refuse_at_once(chat, actor)
        if not chat.continue_generate and file_limits.are_kept(chat):
            storing.store(chat.content.files)
        turn = opening.open_turn(chat, actor=actor)
        if isinstance(turn, Answer):
            yield Finished(turn)
            return
        running = RunningTurn(turn, listener=listener)
        with registered(running), running.keeping_reservation(), measuring.measured(running):
            yield TurnOpened(
                turn.conversation.external_id,
                turn.question_external_id,
                turn.answer_external_id,
                turn.question_pk,
                turn.attempt,
                continued_text=text_to_extend(turn.contents[turn.extends.pk]) if turn.extends else None,
                headers=turn.headers,
            )
            try:
                yield from _answer(running, on_close)
            except closing.TakenOver as taken_over:
                if isinstance(taken_over.__context__, GeneratorExit):  # nobody takes a further event
                    raise
                successor = _answer_of_successor(turn, taken_over)
            else:
                return
            yield Finished(successor, is_another=True)


def drain(turn_events: Iterator[TurnEvent]) -> Answer:
    """Consumes the events of a turn and returns its answer. Raises Conflict if it was stopped and has no answer."""
    ids: dict[str, str] = {}
    answer = None
    for event in turn_events:
        match event:
            case TurnOpened():
                ids = wire_ids(event.conversation_external_id, event.question_external_id)
            case Finished():
                answer = event.answer
    if answer is None:
        raise Conflict(STOPPED, extra=ids)
    return answer


def _refuse_at_once(chat: ChatInput, actor: Caller) -> None:
    """Refuses the requests that can be refused without looking at the conversation."""
    offering.refuse_unless_offered(chat.model, actor)
    if chat.continue_generate:
        if not continuing.takes_prefill(chat.model):
            raise BadRequest(f"message.model: {chat.model.display_name} cannot continue an answer.")
    elif not chat.content.says_something():
        raise BadRequest("message.content: a message needs text, an image or a document.")


def _answer(running: RunningTurn, on_close: OnClose | None) -> Iterator[TurnEvent]:
    """Asks the model and closes the turn.

    1. The request is composed. If that fails, the model was not asked, and the turn closes as failed.
    2. The model's events are passed on, and those of its tools (`rounds.ask`).
    3. If the model has finished, the turn closes with its answer.
    4. If the call was cut short, the turn closes with the answer so far, if that has text. A user who stopped the turn
       gets an ordinary end. In all other cases the error is raised.
    """
    turn = running.turn
    try:
        prompt = asking.compose(running, passages.of_turn(running))
    except BaseException:
        closing.close_failed(running)
        raise
    try:
        stop_reason = yield from rounds.ask(
            running, prompt, model=turn.chat.model, bot=turn.bot, offered=turn.offered, thinks=turn.thinks
        )
    except BaseException as error:
        recording.log_spending(running.calls)
        ended_by = running.settle()
        finished = _close_cut(running, ended_by, on_close)
        if ended_by is not StopReason.STOPPED or isinstance(error, GeneratorExit):
            raised = client_error(error, running, prompt.request)
            if raised is error:
                raise
            raise raised from error
    else:
        recording.log_spending(running.calls)
        answer = closing.close_turn(running, stop_reason, on_close=on_close)
        finished = Finished(answer, tuple(running.spent))
    yield finished


def _close_cut(running: RunningTurn, ended_by: StopReason | None, on_close: OnClose | None) -> Finished:
    """Closes a turn whose model did not finish: with the answer so far if that has text, else without an answer."""
    if not running.has_text():
        closing.close_failed(running)
        return Finished(None, tuple(running.spent))
    if ended_by is StopReason.STOPPED:
        answer = closing.close_turn(running, StopReason.STOPPED, on_close=on_close)
    else:
        answer = closing.close_turn(running, StopReason.INTERRUPTED, outcome=Outcome.INTERRUPTED)
    return Finished(answer, tuple(running.spent))


def _answer_of_successor(turn: OpenTurn, taken_over: closing.TakenOver) -> Answer:
    """The stored answer of the turn that has taken this one over, as a repeat of the question would get it.

    Raises Conflict with `Retry-After` while that turn runs, `taken_over` if it has no answer, and NotFound if the
    conversation was deleted.
    """
    tree = access.read_tree(turn.conversation, database_now())
    question = tree.nodes.get(turn.question_pk)
    if question is None:
        raise closing.gone(turn)
    if tree.is_running(question):
        raise placement.being_answered(turn.conversation.external_id, tree, question)
    answer = tree.answer_of_newest_turn(question)
    if answer is None:
        raise taken_over
    return access.read_answer(turn.conversation, tree, answer)


def client_error(error: BaseException, running: Run, model_request: ModelRequest) -> BaseException:
    """The error that the client gets. An ApiError carries the ids of the question, if that is stored."""
    if isinstance(error, TooLong):
        error = context_window.explained(error, model_request)
    if running.settle() is StopReason.INTERRUPTED and isinstance(error, Exception):
        error = shutting_down(running)
    if isinstance(error, ApiError):
        error.extra = {**error.extra, **running.ids}
    return error


def shutting_down(running: Run) -> ServiceUnavailable:
    """The error of a run that this process ends because it ends itself."""
    sentence = "This server is shutting down; send the message again."
    return ServiceUnavailable(sentence, retry_after=1, extra=running.ids)

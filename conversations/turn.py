"""A turn: the user's message is stored, the model is asked, the answer is stored. Whoever asks consumes its events.

    open    one short transaction: access, the conversation's row locked, the question stored with a lease
    ask     no transaction, no pooled connection: prompt → model → events
    close   one short transaction, fenced by the attempt: answer, ledger, lease given back

Between open and close the rows already say what is true if the process dies now: the question failed once its lease
is over.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.conf import settings

from bedrock_chat import blobs
from bedrock_chat.bedrock import catalog, events, request, runtime
from bedrock_chat.bedrock.faults import ModelFault
from bedrock_chat.database import release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import ApiError, BadRequest, NotFound
from conversations import access, admission, closing, content, leases, opening, prompt, usage
from conversations.chat import Answer, ChatInput, Turn
from conversations.models import ModelCall, Purpose


@dataclass(frozen=True, slots=True)
class Opened:
    """The question is stored and the model is about to be asked."""

    conversation_id: str
    message_id: str
    answer_id: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The rows exist."""

    answer: Answer


TurnEvent = Opened | events.Event | Finished


def run(actor: Caller, chat: ChatInput, on_close: Callable[[], None] | None = None) -> Iterator[TurnEvent]:
    """One turn from the question to the stored answer.

    `on_close` runs inside the closing transaction and may raise LeaseLost. Raises the errors of `placement`, NotFound,
    ServiceUnavailable beyond `TURNS`, and the model's faults; an error after the question was stored carries
    `conversationId` and `messageId`.
    """
    with admission.admitted():
        _check(chat)
        if not chat.continue_generate:
            blobs.store(chat.content.bodies)
        opened = opening.open_turn(actor, chat)
        if isinstance(opened, Answer):
            yield Finished(opened)
            return
        leases.hold(opened.question, opened.attempt)
        try:
            yield Opened(chat.conversation_id, opened.question_id, opened.answer_id)
            yield from _ask(opened, on_close)
        finally:
            leases.drop(opened.question, opened.attempt)


def drain(turn_events: Iterator[TurnEvent]) -> Answer:
    """The stored answer of a turn that nobody listens to."""
    answer = None
    for event in turn_events:
        if isinstance(event, Finished):
            answer = event.answer
    assert answer is not None  # the last event of every turn that did not raise
    return answer


def _check(chat: ChatInput) -> None:
    """What can be refused without looking at the conversation."""
    if chat.bot_id:
        raise NotFound(f"No bot found with id: {chat.bot_id}")
    if settings.GLOBAL_AVAILABLE_MODELS and chat.model.key not in settings.GLOBAL_AVAILABLE_MODELS:
        raise BadRequest(f"message.model: {chat.model.key} is not available here.")
    if chat.continue_generate:
        if chat.model.prefill is not True:
            raise BadRequest(f"message.model: {chat.model.display_name} cannot continue an answer.")
    elif not chat.content.says_something():
        raise BadRequest("message.content: a message needs text, an image or a document.")


def _ask(turn: Turn, on_close: Callable[[], None] | None) -> Iterator[TurnEvent]:
    release_connection()
    started = time.monotonic()
    built = events.AnswerBuilder()
    closed: events.Closed | None = None
    try:
        asked = _compose(turn)
    except BaseException:
        closing.close_failed(turn, None)
        raise
    try:
        for event in runtime.call(asked, stream=False):
            built.feed(event)
            if isinstance(event, events.Closed):
                closed = event
            yield event
    except BaseException as error:
        fault = error.code if isinstance(error, ModelFault) else type(error).__name__
        closing.close_failed(turn, _ledger(turn, asked, None, started, fault=fault))
        if isinstance(error, ApiError):
            error.extra = {**error.extra, **turn.ids}
        raise
    assert closed is not None  # the last event of every call that did not raise
    yield Finished(
        closing.close_turn(turn, content.from_converse(built.blocks()), _ledger(turn, asked, closed, started), on_close)
    )


def _compose(turn: Turn) -> request.ModelRequest:
    chat = turn.chat
    read = access.BlobReader(chat.content.bodies.items())
    messages = prompt.build(turn.path, turn.bodies, read)
    if turn.extends:
        messages = prompt.prefill(messages)
    else:
        messages.append({"role": "user", "content": content.question_to_converse(chat.content.blocks, read)})
    return request.compose(
        chat.model,
        route(chat.model),
        messages,
        instruction=turn.instruction,
        reasoning=chat.enable_reasoning and not turn.extends,
    )


def route(model: catalog.Model) -> catalog.Target:
    """Where this deployment calls a model."""
    return catalog.route(
        model,
        region=settings.BEDROCK_REGION,
        cross_region=settings.CROSS_REGION_INFERENCE,
        global_inference=settings.GLOBAL_INFERENCE,
        profile_arns=settings.INFERENCE_PROFILE_ARNS,
    )


def _ledger(
    turn: Turn, asked: request.ModelRequest, closed: events.Closed | None, started: float, *, fault: str = ""
) -> ModelCall:
    return usage.ledger_entry(
        turn.actor,
        asked,
        purpose=Purpose.TURN,
        conversation_id=turn.chat.conversation_id,
        message_id=turn.question_id,
        closed=closed,
        latency_ms=int((time.monotonic() - started) * 1000),
        fault=fault,
    )

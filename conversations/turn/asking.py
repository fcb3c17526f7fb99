"""Asks the model: composes the request of an open turn, and makes one call with its row for the ledger."""

import itertools
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings

from bedrock_chat.bedrock import events, grounding, offering, request, runtime
from bedrock_chat.bedrock.events import Event, StopReason
from bedrock_chat.bedrock.faults import ModelFault
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.bedrock.shapes import ConverseMessage
from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.tracing import spans
from bots.chatting import ChattingBot
from bots.tools import offered, prompting
from bots.tools.offered import Offered
from bots.tools.prompting import Passages
from conversations.content import converse
from conversations.content.blocks import blob_shas
from conversations.content.files import FileReader
from conversations.content.rounds import shas_of, shas_of_rounds, uses_of
from conversations.turn import round_history
from conversations.turn.registry import Run, RunningTurn
from conversations.turn.types import Booking, OpenTurn


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is sent first, and what later rounds need: files, and the ids that tool uses have had so far."""

    request: ModelRequest
    files: FileReader
    used_ids: frozenset[str] = frozenset()


class Called(NamedTuple):
    """How a call ended, and the tool uses that it asks for. They have not been told yet."""

    stop_reason: str
    tool_uses: tuple[events.ToolUse, ...]


def compose(running: RunningTurn, passages: Passages = prompting.NONE) -> Prompt:
    """Composes the request: exactly what the model is sent. `passages` are told beside the bot's instruction, or stand
    in the last question where a guardrail holds the answer against them.

    1. The files of the branch are looked up, in one query if there are any. Those of the question are in memory.
    2. The database connection is released: storage may be a network away, and the model surely is.
    3. Of a long branch's files only those are read that may be sent.
    4. The branch becomes Converse messages. A continuation ends with the answer that it extends, and reasoning is off.
       Any other turn ends with its question.
    5. `bedrock.request` adds instruction, parameters, guardrail and cache marks, and leaves out what the model refuses.
    """
    turn = running.turn
    chat = turn.chat
    earlier = [turn.contents[node.pk] for node in turn.path if node.is_question]
    question = [] if turn.extends else chat.content.blocks
    read = FileReader(chat.content.files)
    of_questions = (sha256 for blocks in earlier for sha256 in blob_shas(blocks))
    read.expect(itertools.chain(of_questions, _shas_of_rounds(turn)) if turn.offered.tools else of_questions)
    release_connection()
    rounds = _earlier_rounds(turn, read) if turn.logs else None
    unsent = converse.unsent_files(chat.model, earlier, question, read.size)
    messages = converse.history(turn.path, turn.contents, read, model=chat.model.key, unsent=unsent, rounds=rounds)
    if turn.extends:
        messages = converse.prefill(messages)
    else:
        messages.append({"role": "user", "content": converse.question_to_converse(question, read)})
    model_request = request.compose(
        chat.model,
        offering.route(chat.model),
        grounding.with_sources(messages, passages.sources) if passages.sources else messages,
        instruction=instruction_of(turn.conversation.instruction, turn.bot, turn.offered, passages.instruction),
        tools=offered.specs(turn.offered, running.interrupt),
        parameters=turn.bot.parameters if turn.bot else request.NO_PARAMETERS,
        reasoning=turn.thinks,
        prompt_caching=turn.bot is None or turn.bot.prompt_caching,
        guardrail=turn.bot.guardrail if turn.bot else None,
    )
    return Prompt(model_request, read, _ids_in_logs(turn) if turn.logs else frozenset())


def instruction_of(instruction: str, bot: ChattingBot | None, tools: Offered, passages: str = "") -> str:
    """The instruction of a bot, with what a model must know of its tools, and passages of the bot's knowledge."""
    beside = prompting.instructions(bot, tools) if bot is not None else []
    return "\n\n".join(filter(None, (instruction, *beside, passages)))


def _shas_of_rounds(turn: OpenTurn) -> Iterator[str]:
    """The blobs of what tools have given before."""
    for log in turn.logs.values():
        yield from shas_of(log)
    yield from shas_of_rounds(turn.taken_over)


def _ids_in_logs(turn: OpenTurn) -> frozenset[str]:
    messages = (message for log in turn.logs.values() for message in log)
    return frozenset(use["toolUseId"] for message in messages for use in uses_of(message["content"]))


def _earlier_rounds(turn: OpenTurn, read: FileReader) -> dict[int, list[ConverseMessage]]:
    """The rounds of the branch's answers that are sent again, by the answers' keys."""
    model = turn.chat.model
    answers = [node for node in turn.path if node.pk in turn.logs]
    histories = [round_history.of_log(turn.logs[node.pk], has_reasoning=node.model == model.key) for node in answers]
    kept = round_history.newest(histories, settings.HISTORY_TOOL_CHARS)
    reader = round_history.Reader(model, read)
    return {node.pk: round_history.messages(exchanges, reader) for node, exchanges in zip(answers, kept, strict=True)}


def call(running: Run, model_request: ModelRequest) -> Generator[Event, None, Called]:
    """Makes one call: passes on the model's events, and returns how it ended. Raises the model's faults.

    1. The events of the model are added to `running.answer` and yielded. Tool uses are not yielded: first it must be
       known whether any is run.
    2. If the call is cut short, the run says why: its user stopped it, the process is ending, or there was a fault.
    3. However the call ends, its ledger row is added to `running.calls`. It is charged if the call came to its end, if
       any content came, or if the user stopped it after the request was sent.
    """
    started = time.monotonic()
    closed: events.Closed | None = None
    tool_uses: list[events.ToolUse] = []
    running.interrupt.was_sent = False
    fault, stop_reason = "", ""
    begun = _begin(running, model_request)
    round_span = spans.begin("round", {"bedrock_chat.round.number": len(running.calls) + 1}, parent=running.span)
    try:
        for event in runtime.call(
            model_request, stream=running.listener is not None, interrupt=running.interrupt, parent=round_span
        ):
            running.answer.feed(event)
            if type(event) is events.TextDelta:  # nearly all events
                yield event
            elif type(event) is events.ToolUse:
                tool_uses.append(event)
            else:
                closed = event if type(event) is events.Closed else closed
                yield event
    except BaseException as error:
        match running.settle():
            case StopReason.STOPPED:
                stop_reason = StopReason.STOPPED.value
            case StopReason.INTERRUPTED:
                fault = "Shutdown"
            case _:
                fault = error.code if isinstance(error, ModelFault) else type(error).__name__
        raise
    finally:
        blocks = running.answer.blocks()
        generated = closed or blocks or (stop_reason and running.interrupt.was_sent)
        row = _build_call(
            running.booking,
            model_request,
            closed=None if fault or stop_reason else closed,
            latency_ms=int((time.monotonic() - started) * 1000),
            fault=fault,
            stop_reason=stop_reason,
            generated=blocks if generated else None,
        )
        if begun is not None:
            recording.ended(row, begun)
        running.calls.append(row)
        round_span.end(fault)
    assert closed is not None  # the last event of every call that did not raise
    return Called(closed.stop_reason, tuple(tool_uses))


def _begin(running: Run, model_request: ModelRequest) -> ModelCall | None:
    """For a published call, writes its ledger row before it is made: its owner pays, whatever becomes of this process.

    If this process is killed, the job of a turn makes the call once more, and both were paid. Returns the row.
    """
    if running.booking.actor.published is None:
        return None
    row = _build_call(
        running.booking, model_request, closed=None, latency_ms=0, fault=recording.PROCESS_LOST, generated=()
    )
    try:
        return recording.begin(row)
    finally:
        release_connection()


def _build_call(booking: Booking, model_request: ModelRequest, **columns: Any) -> ModelCall:
    """The row of a call that is booked like this; `columns` say how it went."""
    return recording.build_call(
        booking.actor,
        model_request,
        purpose=Purpose.TURN,
        conversation_external_id=booking.conversation_external_id,
        message_external_id=booking.question_external_id,
        turn_id=booking.turn_id,
        bot_id=booking.bot_id,
        **columns,
    )

"""The rounds of a turn: the model is asked, the tools that it asks for run, and it is asked again with their results.

    ask       the model's text and reasoning are passed on
    store     its tool uses are stored, every call marked as running, before any tool starts
    run       the calls run in parallel; each result is stored and told as it comes
    again     results go back in one message, in the order of the uses

A turn without tools is one call, and costs what it would cost without this module.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
from django.conf import settings

from bedrock_chat.bedrock import estimates, faults, offering, request
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.events import ReasoningDelta, StopReason, TextDelta, ToolUse
from bedrock_chat.bedrock.shapes import ConverseMessage
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger.tool_calls import UNKNOWN
from bedrock_chat.process.interruption import Interrupted
from bedrock_chat.wire.ids import new_id
from bots.chatting import ChattingBot
from bots.tools import names, schemas
from bots.tools.offered import Offered
from bots.tools.tool import Tool
from conversations import access
from conversations.content import rounds, source_links
from conversations.content.blocks import StoredBlock
from conversations.content.converse import from_converse
from conversations.content.rounds import StoredCall, StoredRound
from conversations.turn import asking, closing, round_history, round_storing, tool_bounds, tool_calls
from conversations.turn.asking import Prompt
from conversations.turn.registry import Run, RunningTurn
from conversations.turn.tool_bounds import Bounds, Counts
from conversations.turn.tool_calls import Call, Surroundings
from conversations.turn.types import TurnEvent

NOT_RUN: Final = "This call was not run: there are no more tool calls in this answer."
TOO_MANY_AT_ONCE: Final = "This call was not run: at most {most} calls at once."
TOO_MANY: Final = "This call was not run: at most {most} calls in one answer."
REPEATED: Final = "This call was not run: it is the same as the last {count}, whose results you have."
NOT_JSON: Final = "The call was not run: its input is not a JSON object."
NO_WORDS: Final = "The answer ended at its limit of tool calls."
REPEATS: Final = 2
"""So many identical calls in a row are run."""
BROKEN_ROUNDS: Final = 2
"""So many rounds in a row may ask for tools with unusable input. A model that goes on like that has failed."""


@dataclass(slots=True)
class Turn:
    """The state of a turn's rounds. `used_ids` are those of tool uses that its conversation has had."""

    running: Run
    prompt: Prompt
    model: Model
    bot: ChattingBot
    offered: Offered
    bounds: Bounds
    counts: Counts
    thinks: bool
    extends: int | None = None
    used_ids: set[str] = field(default_factory=set)
    knows_ids: bool = False
    messages: list[ConverseMessage] = field(default_factory=list)  # of the rounds that were made into messages
    made: int = 0
    characters: int = 0
    reader: round_history.Reader | None = None
    is_limited: bool = False


def ask(
    running: Run, prompt: Prompt, *, model: Model, bot: ChattingBot | None, offered: Offered, thinks: bool
) -> Generator[TurnEvent, None, str]:
    """Asks the model until it needs no more tools. Yields what happens, and returns why the answer ended.

    `running.answer` has the answer then, and `running.rounds` what came before it.

    Raises the model's faults, BudgetExceeded if a round finds no room, TakenOver, and Interrupted if the turn was ended
    while tools ran.
    """
    if bot is None or not offered.tools:
        called = yield from asking.call(running, prompt.request)
        if called.tool_uses:
            running.answer.drop_tool_uses()
        return called.stop_reason
    opened = running.turn if isinstance(running, RunningTurn) else None
    counts = Counts.left_by(opened.taken_over if opened else ())
    bounds = tool_bounds.of(bot, running.booking.actor, used_seconds=counts.seconds)
    turn = Turn(running, prompt, model, bot, offered, bounds, counts, thinks, used_ids=set(prompt.used_ids))
    if opened:
        turn.extends = opened.extends.pk if opened.extends else None
        yield from _take_over(turn, opened.taken_over)
    stop_reason = yield from _rounds(turn)
    return StopReason.TOOL_LIMIT if turn.is_limited else stop_reason


def _rounds(turn: Turn) -> Generator[TurnEvent, None, str]:
    """Round after round.

    1. The model is asked, with what its tools have given so far.
    2. If it asks for no tools, or was stopped by anything else, this is the answer. Its tool uses are dropped.
    3. Else the round is stored, told, and its tools run.
    4. Once a bound is reached, the model is told, and asked once more. Should it ask for tools again, what it says is
       the answer.
    """
    running = turn.running
    while True:
        model_request = request.continued(turn.prompt.request, _messages(turn))
        called = yield from asking.call(running, model_request)
        if not called.tool_uses or called.stop_reason not in (StopReason.TOOL_USE, StopReason.END_TURN):
            running.answer.drop_tool_uses()
            return called.stop_reason
        uses, blocks = _legal(turn, called.tool_uses)
        if turn.is_limited:
            yield from _answer_in_spite(turn, [use for use, _ in uses], blocks)
            return called.stop_reason
        calls = _calls_of(turn, uses)
        yield from _begin(turn, blocks, calls)
        yield from _run(turn, calls)
        if turn.bounds.are_reached(running, turn.counts):
            turn.is_limited = True
            _append_last_call(running.rounds[-1])
            round_storing.write_results(running, [])
            _refuse_taken_over(running)
        running.begin_answer()
        _reserve(turn, model_request)


def _messages(turn: Turn) -> list[ConverseMessage]:
    """The rounds so far, as the model gets them. Those that were made before are not made again, as long as all fit."""
    stored = turn.running.rounds
    if not stored:
        return []
    if turn.reader is None:
        turn.reader = _reader(turn)
    added = round_history.of_rounds(stored[turn.made :], turn.model)
    turn.characters += sum(map(round_history.length_of, added))
    turn.messages += round_history.messages(added, turn.reader)
    turn.made = len(stored)
    window = turn.model.context_window
    most = None if window is None else window // 2 * estimates.ASCII_PER_TOKEN
    if most is None or turn.characters <= most:
        return turn.messages
    return round_history.messages(round_history.of_rounds(stored, turn.model), _reader(turn), most)


def _reader(turn: Turn) -> round_history.Reader:
    """For messages that follow those of earlier answers, whose ids are in the request already."""
    return round_history.Reader(turn.model, turn.prompt.files, seen=set(turn.prompt.used_ids))


# ---- A round ---------------------------------------------------------------------------------------------------------


def _legal(turn: Turn, asked_for: Sequence[ToolUse]) -> tuple[list[tuple[ToolUse, str]], list[StoredBlock]]:
    """The tool uses with ids and names that can be sent back, and the round's blocks with them.

    Beside each use stands why it is not run, or nothing: the tool is not known, or its input is none that the tool can
    get. In place of such an input `{}` goes back.
    """
    _note_ids_of_other_branches(turn)
    uses: list[tuple[ToolUse, str]] = []
    for use in asked_for:
        tool_use_id = use.tool_use_id
        if not round_history.is_legal_id(tool_use_id) or tool_use_id in turn.used_ids:
            tool_use_id = f"tooluse_{new_id()}"
        turn.used_ids.add(tool_use_id)
        tool = turn.offered.named(use.name)
        if tool is None:
            fault = names.unknown(use.name)
            is_broken = use.is_broken or schemas.check_fit(use.input) is not None
        else:
            fault = NOT_JSON if use.is_broken else schemas.check_input(tool, use.input) or ""
            is_broken = bool(fault)
        value: dict[str, Any] = {} if is_broken else use.input
        legal = ToolUse(tool_use_id, names.legal(use.name), value, is_broken=is_broken)
        uses.append((legal, fault))
    blocks = from_converse(turn.running.answer.blocks())
    in_order = iter(uses)
    for block in blocks:
        if block["contentType"] == "toolUse":
            use, _ = next(in_order)
            block["body"] = {"toolUseId": use.tool_use_id, "name": use.name, "input": use.input}
    return uses, blocks


def _note_ids_of_other_branches(turn: Turn) -> None:
    """Documents are kept by the ids of their tool uses, which a model may use again in another branch. Looks once."""
    running = turn.running
    if isinstance(running, RunningTurn) and not turn.knows_ids:
        turn.used_ids |= access.ids_with_documents(running.turn.conversation.pk)
        turn.knows_ids = True
        release_connection()


def _calls_of(turn: Turn, uses: Sequence[tuple[ToolUse, str]]) -> list[Call]:
    """The calls of a round, each with its tool, or with a sentence that says why it is not run.

    Raises MalformedToolUse if the model has asked with unusable input in too many rounds.
    """
    counts = turn.counts
    counts.broken_rounds = counts.broken_rounds + 1 if any(use.is_broken for use, _ in uses) else 0
    if counts.broken_rounds > BROKEN_ROUNDS:
        raise faults.MalformedToolUse
    calls: list[Call] = []
    for index, (use, fault) in enumerate(uses):
        refusal = fault
        if fault:
            counts.forget_repetition()
        elif index >= settings.TOOL_CALLS_PER_ROUND:
            refusal = TOO_MANY_AT_ONCE.format(most=settings.TOOL_CALLS_PER_ROUND)
        elif counts.calls >= settings.TOOL_CALLS_PER_TURN:
            refusal = TOO_MANY.format(most=settings.TOOL_CALLS_PER_TURN)
        elif _is_repeated(turn, use):
            refusal = REPEATED.format(count=REPEATS)
        if not refusal:
            counts.calls += 1
        calls.append(_call(use, turn.offered.named(use.name), refusal))
    return calls


def _call(use: ToolUse, tool: Tool | None, refusal: str = "") -> Call:
    stored: StoredCall = {
        "toolUseId": use.tool_use_id,
        "status": rounds.RUNNING,
        "content": [],
        "documents": [],
        "isReadOnly": tool is None or tool.is_read_only or bool(refusal),
    }
    return Call(use, stored, tool, refusal)


def _is_repeated(turn: Turn, use: ToolUse) -> bool:
    """Whether a call is the same as the calls before it, once too often."""
    key = use.name + orjson.dumps(use.input, option=orjson.OPT_SORT_KEYS).decode()
    return turn.counts.note_repetition(key) > REPEATS


def _begin(turn: Turn, blocks: list[StoredBlock], calls: Sequence[Call]) -> Iterator[TurnEvent]:
    """Stores a round, and tells what the model has asked for.

    What is not run has its result by then: whoever takes the round over from a killed process would run it otherwise.
    """
    tool_calls.refuse(calls, _surroundings(turn))
    stored: StoredRound = {
        "counts": turn.counts.stored(turn.running, turn.bounds),
        "model": turn.model.key,
        "thinks": turn.thinks,
        "extends": turn.extends,
        "blocks": blocks,
        "calls": [call.stored for call in calls],
    }
    round_storing.begin_round(turn.running, stored)
    for call in calls:
        yield call.use


def _run(turn: Turn, calls: Sequence[Call]) -> Iterator[TurnEvent]:
    """Runs the calls of a round. Raises Interrupted if the turn was ended meanwhile, and TakenOver."""
    running = turn.running
    yield from tool_calls.run(calls, _surroundings(turn))
    _refuse_taken_over(running)
    if running.interrupt.requested:
        raise Interrupted


def _refuse_taken_over(running: Run) -> None:
    """Raises TakenOver if a write of results has found that another attempt owns the question."""
    if isinstance(running, RunningTurn) and running.is_taken_over:
        raise closing.TakenOver(extra=running.ids)


def _surroundings(turn: Turn) -> Surroundings:
    return Surroundings(
        turn.running,
        turn.bot,
        turn.prompt.files.remember,
        seconds=turn.bounds.seconds,
        ends_at=turn.bounds.ends_at,
        context_window=turn.model.context_window,
    )


# ---- Bounds ----------------------------------------------------------------------------------------------------------


def _append_last_call(stored: StoredRound) -> None:
    """Has the last result of a round say that there are no more tools, once."""
    for call in stored["calls"][-1:]:
        if {"text": rounds.LAST_CALL} not in call["content"]:
            call["content"].append({"text": rounds.LAST_CALL})


def _answer_in_spite(turn: Turn, uses: Sequence[ToolUse], blocks: list[StoredBlock]) -> Iterator[TurnEvent]:
    """The model asks for tools although there are no more: its calls get errors, and what it says is the answer."""
    running = turn.running
    calls = [_call(use, turn.offered.named(use.name), NOT_RUN) for use in uses]
    has_text = running.answer.has_text()
    yield from _begin(turn, [block for block in blocks if block["contentType"] == "toolUse" or not has_text], calls)
    yield from _run(turn, calls)
    if has_text:
        running.answer.drop_tool_uses()
        return
    running.begin_answer()
    event = TextDelta(NO_WORDS)
    running.answer.feed(event)
    yield event


def _reserve(turn: Turn, before: request.ModelRequest) -> None:
    """Reserves what the next call may cost: what the last one has read, what it said, and what its tools have given."""
    running = turn.running
    last, newest = running.calls[-1], running.rounds[-1]
    read = last.input_tokens + last.cache_read_tokens + last.cache_write_tokens + last.output_tokens
    characters = sum(rounds.length_of(part) for call in newest["calls"] for part in call["content"])
    most = int(before.body["inferenceConfig"]["maxTokens"])
    tokens = read + characters // estimates.ASCII_PER_TOKEN
    tool_bounds.reserve(running, turn.model, offering.route(turn.model), tokens, most)


# ---- An earlier attempt's rounds -------------------------------------------------------------------------------------


def _take_over(turn: Turn, taken_over: Sequence[StoredRound]) -> Iterator[TurnEvent]:
    """Goes on from the rounds of an attempt that was cut, and tells them first.

    A call that has its result is not repeated. Without one, a call that only reads runs again. Of any other it is not
    known whether it took effect, and the model reads that. What that attempt had used of its bounds counts on.
    """
    turn.running.rounds += taken_over
    for stored in taken_over:
        yield from _told(turn, stored)
    if taken_over and turn.bounds.are_reached(turn.running, turn.counts):
        turn.is_limited = True
        _append_last_call(turn.running.rounds[-1])


def _told(turn: Turn, stored: StoredRound) -> Iterator[TurnEvent]:
    running = turn.running
    for block in stored["blocks"]:
        if block["contentType"] == "text":
            event = TextDelta(block["body"])
            running.answer.feed(event)
            yield event
        elif block["contentType"] == "reasoning" and block["text"]:
            yield ReasoningDelta(block["text"])
    uses = {use["toolUseId"]: use for use in rounds.uses_of(stored["blocks"])}
    again: list[Call] = []
    unknown: list[Call] = []
    for call in stored["calls"]:
        use = uses.get(call["toolUseId"])
        if use is None:
            continue
        turn.used_ids.add(call["toolUseId"])
        event_of_use = ToolUse(use["toolUseId"], use["name"], use["input"])
        yield event_of_use
        if call["status"] != rounds.RUNNING:
            yield ToolResult(call["toolUseId"], call["status"])
            yield from _found(turn, call, use["name"])
            continue
        tool = turn.offered.named(use["name"])
        repeats = call["isReadOnly"] and tool is not None
        if repeats:
            again.append(Call(event_of_use, call, tool))
        elif call["isReadOnly"]:
            unknown.append(Call(event_of_use, call, tool, names.unknown(use["name"])))
        else:
            unknown.append(Call(event_of_use, call, tool, rounds.NOT_KNOWN, UNKNOWN))
    yield from _run(turn, [*unknown, *again])
    running.begin_answer()


def _found(turn: Turn, call: StoredCall, name: str) -> Iterator[FoundDocument]:
    """The documents of a call as they were told when it ended."""
    running, read = turn.running, turn.prompt.files
    booking = running.booking
    documents = [
        rounds.found_document(call["toolUseId"], document, rounds.read_part(document["content"], read))
        for document in rounds.documents_of(call, name)
    ]
    addresses = source_links.readable(documents, booking.bot_id, actor=booking.actor)
    for document, address in zip(documents, addresses, strict=True):
        if isinstance(running, RunningTurn) and call["status"] == rounds.SUCCESS:
            running.documents.append(document)
        yield replace(document, source_link=address)

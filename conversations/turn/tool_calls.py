"""Runs the calls of a round: in parallel, each with its deadline, its switch and its row in the ledger.

The turn's thread runs a lone call. Several are run by a pool of `TOOL_THREADS`, so that the turn's thread is free to
tell of each as it ends. Where no thread of the pool is free, the turn's thread runs them one after another, so that
nothing waits for a thread.
"""

import contextvars
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Final

import orjson
from django.conf import settings

from bedrock_chat.bedrock.events import ToolUse
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger import tool_calls as ledger
from bedrock_chat.ledger.models import ToolCall
from bedrock_chat.metrics.instruments import Gauge
from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.process.thread_pool import ThreadPool
from bedrock_chat.resilience.deadlines import Errand, hang_up_after
from bots.chatting import ChattingBot
from bots.tools import names, results, servers
from bots.tools import running as guarding
from bots.tools.tool import STOPPED, Context, FilePart, JsonPart, Part, Result, TextPart, Tool
from conversations.content import rounds
from conversations.content.blocks import ResultPart
from conversations.content.rounds import StoredCall
from conversations.turn import round_storing
from conversations.turn.registry import Run, RunningTurn
from conversations.turn.types import Booking

STOP_SECONDS: Final = 0.8
"""How long calls that were ended may take to come to their end. Then nobody waits for them any more."""
LOOK_SECONDS: Final = 0.05
"""How often a turn that waits for calls looks whether it was stopped."""
LATE_SECONDS: Final = 0.8
"""The same for calls that were ended because they took too long."""
TOO_LONG: Final = "The tool did not answer in time."


RESTING = Gauge(
    "bedrock_chat_tool_servers_resting",
    "Servers of tools, and models for vectors, that are not called for a while: they did not answer.",
    read=lambda: len(servers.resting()),
)


@functools.cache
def pool() -> ThreadPool:
    """The threads of this process for calls beside a turn's own thread."""
    return ThreadPool(settings.TOOL_THREADS, name="tool")


@dataclass(slots=True, eq=False)
class Call:
    """A tool use that is answered: by `tool`, or, without being run, by the sentence `refusal`.

    `stored` is its place in the question's rounds. `is_over`: it has its result, and a later one is thrown away. It is
    looked at and set while the rounds are kept (`Run.keeping_rounds`), after all else of the result.
    """

    use: ToolUse
    stored: StoredCall
    tool: Tool | None
    refusal: str = ""
    outcome: str = ledger.REFUSED  # of a call that is not run
    is_over: bool = False
    documents: list[FoundDocument] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the calls of a turn have in common. `files` takes what results bring; `ends_at` is when tools are over.

    `context_window` is that of the model that reads the results, in tokens.
    """

    running: Run
    bot: ChattingBot
    files: Callable[[Mapping[str, bytes]], None]
    seconds: float
    ends_at: float
    context_window: int | None = None

    @property
    def cites(self) -> bool:
        return self.bot.cites


def run(calls: Sequence[Call], around: Surroundings) -> Iterator[ToolResult | FoundDocument]:
    """Runs calls, and yields the result and the documents of each as it ends.

    1. Calls that are not run are answered at once.
    2. A lone call is run by this thread. Of several, the pool runs as many as it has threads for, and this thread the
       others, one after another.
    3. Results are stored by the thread that has them. A call is done when its result is stored, and then it is told.
    4. When the turn is stopped, or their time is over, calls have a moment to end. Then they are given up. So no thread
       writes for this turn any more when this returns, or raises.
    """
    _write(refuse(calls, around), around)
    for call in calls:
        if call.is_over:
            yield from _told(call)
    own = [call for call in calls if not call.is_over]
    done: SimpleQueue[Call] = SimpleQueue()
    over_at = min(around.ends_at, time.monotonic() + around.seconds)  # of calls that begin now
    here: list[Call] = []
    elsewhere: list[Call] = []
    for call in own:
        (elsewhere if len(own) > 1 and _begin_elsewhere(call, around, done) else here).append(call)
    try:
        for call in here:
            _perform(call, around)
            yield from _told(call)
            yield from _told_so_far(done, elsewhere)
        yield from _awaited(elsewhere, done, around, over_at + LATE_SECONDS)
    except BaseException:  # nobody takes further events, or the turn is over
        around.running.interrupt.request()
        _leave(elsewhere, done, around)
        raise


def refuse(calls: Sequence[Call], around: Surroundings) -> list[Call]:
    """Answers the calls that are not run, and returns them. Their results are not stored by this."""
    refused = [call for call in calls if (call.tool is None or call.refusal) and not call.is_over]
    for call in refused:
        _answer(call, results.error(call.use.name, call.refusal), around, outcome=call.outcome)
    return refused


def _begin_elsewhere(call: Call, around: Surroundings, done: "SimpleQueue[Call]") -> bool:
    """Has a thread of the pool run a call. Returns False if none is free."""
    context = contextvars.copy_context()
    return pool().submit_if_free(functools.partial(context.run, _run_on_thread, call, around, done))


def _told_so_far(done: "SimpleQueue[Call]", missing: list[Call]) -> Iterator[ToolResult | FoundDocument]:
    """The events of calls that are done by now. They are missing no longer."""
    while True:
        try:
            call = done.get_nowait()
        except Empty:
            return
        if call in missing:
            missing.remove(call)
            yield from _told(call)


def _awaited(
    missing: list[Call], done: "SimpleQueue[Call]", around: Surroundings, latest: float
) -> Iterator[ToolResult | FoundDocument]:
    """The results of calls on other threads, as they come. Calls that do not end when they are ended are given up,
    all of them at the moment `latest`. What they say later is done for nobody.
    """
    interrupt = around.running.interrupt
    while missing:
        if interrupt.requested:
            latest = min(latest, time.monotonic() + STOP_SECONDS)
        try:
            call = done.get(timeout=LOOK_SECONDS)
            ended = [call] if call in missing else []
        except Empty:
            ended = _give_up(missing, around) if time.monotonic() >= latest else []
        for call in ended:
            missing.remove(call)
        for call in ended:
            yield from _told(call)


def _leave(missing: list[Call], done: "SimpleQueue[Call]", around: Surroundings) -> None:
    """Waits for calls whose events nobody takes, as long as for calls of a turn that is stopped."""
    for _ in _awaited(missing, done, around, time.monotonic() + STOP_SECONDS):
        pass


def _give_up(calls: Sequence[Call], around: Surroundings) -> list[Call]:
    """Answers calls that did not end when they were ended, and returns them.

    One that has its result meanwhile is not among them: its thread is storing it, and is waited for.
    """
    stopped = around.running.interrupt.requested
    sentence, outcome = (STOPPED, "stopped") if stopped else (TOO_LONG, "timeout")
    given_up = [
        call for call in calls if _answer(call, results.error(call.use.name, sentence), around, outcome=outcome)
    ]
    _write(given_up, around)
    return given_up


def _told(call: Call) -> Iterator[ToolResult | FoundDocument]:
    """The events of a call that is over."""
    yield ToolResult(call.use.tool_use_id, call.stored["status"])
    yield from call.documents


# ---- One call -------------------------------------------------------------------------------------------------------


def _run_on_thread(call: Call, around: Surroundings, done: "SimpleQueue[Call]") -> None:
    try:
        _perform(call, around)
    except Exception as error:  # noqa: BLE001  the turn waits for this call, and must get an end of it
        _answer(call, guarding.failed(call.use.name, error), around)
    finally:
        release_connection()
        done.put(call)


def _perform(call: Call, around: Surroundings) -> None:
    """Runs a call to its end, and stores its result."""
    assert call.tool is not None
    started = time.monotonic()
    seconds = max(0.05, min(float(call.tool.seconds or around.seconds), around.seconds, around.ends_at - started))
    running = around.running
    release_connection()
    with running.interrupt.inner() as interruption, hang_up_after(seconds, interruption.expire):
        context = Context(
            deadline=started + seconds,
            interruption=interruption,
            caller=running.booking.actor,
            bot=around.bot,
            conversation_external_id=running.booking.conversation_external_id,
            message_external_id=running.booking.question_external_id,
            turn_id=running.booking.turn_id,
            context_window=around.context_window,
            note_call=running.note_query,
        )
        if interruption.requested and not interruption.expired:
            result = results.error(call.use.name, STOPPED, "stopped")
        else:
            try:
                result = _result_of(call.tool, call.use.input, context)
            except (Interrupted, TimeoutError):  # of a call that was left to itself
                result = _ended(call, interruption)
            except Exception as error:  # noqa: BLE001  logged without its text; a tool should raise nothing
                result = guarding.failed(call.use.name, error)
        if interruption.requested and result.status == rounds.ERROR:
            result = _ended(call, interruption)
    release_connection()
    if not call.is_over and _answer(call, result, around, seconds=time.monotonic() - started):
        _write([call], around)


def _result_of(tool: Tool, value: Mapping[str, Any], context: Context) -> Result:
    """Runs a tool. One that cannot be interrupted does so on a thread of its own: then this raises Interrupted or
    TimeoutError when the call is ended, and the tool goes on by itself.
    """
    if tool.is_interruptible:
        return tool.run(value, context)

    def work() -> Result:
        try:
            return tool.run(value, context)
        finally:
            release_connection()

    errand = Errand(functools.partial(contextvars.copy_context().run, work))
    return context.interruption.result(errand, context.deadline - time.monotonic())


def _ended(call: Call, interruption: Interruption) -> Result:
    """The result of a call that failed because it was ended: whatever it says, this is why."""
    if interruption.requested and not interruption.expired:
        return results.error(call.use.name, STOPPED, "stopped")
    return results.error(call.use.name, TOO_LONG, "timeout")


def _answer(call: Call, result: Result, around: Surroundings, *, seconds: float = 0.0, outcome: str = "") -> bool:
    """Puts a result into the call's place in the rounds, in its stored form. One that comes too late is thrown away.

    Returns whether it came in time. Of one that did not, nothing is written: the turn may be closing just now.
    """
    files: dict[str, bytes] = {}
    result = results.identified(result, call.use.tool_use_id, cites=around.cites)
    content = [_stored(part, files) for part in result.parts]
    documents = [
        rounds.stored_document(document, _stored_shown(document, result.parts, index, files))
        for index, document in enumerate(result.documents)
    ]
    status = result.status
    try:
        if around.running.booking.conversation_external_id:  # else nothing of it is kept
            round_storing.keep_files(files)
    except Exception as error:  # noqa: BLE001  storage may be full or away: the turn goes on without this result
        failure = results.identified(guarding.failed(call.use.name, error), call.use.tool_use_id, cites=around.cites)
        content, documents, status, files = [_stored(part, {}) for part in failure.parts], [], failure.status, {}
        result = failure
    running = around.running
    with running.keeping_rounds:
        if call.is_over:
            return False
        around.files(files)
        running.file_bytes += sum(map(len, files.values()))
        call.documents = list(result.documents)
        call.stored["content"] = content
        call.stored["documents"] = documents if status == rounds.SUCCESS else []
        if isinstance(running, RunningTurn) and status == rounds.SUCCESS:
            running.documents += result.documents
        call.stored["status"] = status  # last: who reads the status reads the rest
        size = sum(map(_size_of, result.parts))
        running.tool_calls.append(_row(call, around, seconds, size, outcome or result.outcome))
        call.is_over = True  # last: who reads it reads the rest
    return True


def _write(calls: Sequence[Call], around: Surroundings) -> None:
    if calls:
        round_storing.write_results(around.running, [call.stored for call in calls])


def _row(call: Call, around: Surroundings, seconds: float, size: int, outcome: str) -> ToolCall:
    tool = call.tool
    return row_of(
        around.running.booking,
        tool=names.legal(call.use.name),
        kind=tool.kind if tool else "",
        server=tool.server if tool else "",
        seconds=seconds,
        bytes_in=size_of_input(call.use.input),
        bytes_out=size,
        outcome=outcome,
    )


def row_of(booking: Booking, **columns: Any) -> ToolCall:
    """The ledger's row of a call that is booked like this; `columns` say which tool was called, and how it went."""
    return ledger.build(
        booking.actor,
        turn_id=booking.turn_id,
        conversation_external_id=booking.conversation_external_id,
        message_external_id=booking.question_external_id,
        bot_id=booking.bot_id,
        **columns,
    )


def size_of_input(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return 0


def _size_of(part: Part) -> int:
    return len(part.body) if isinstance(part, FilePart) else len(results.text_of(part).encode())


# ---- Stored forms ---------------------------------------------------------------------------------------------------


def _stored(part: Part, files: dict[str, bytes]) -> ResultPart:
    match part:
        case TextPart(text):
            return rounds.stored_text(text, files)
        case JsonPart(value):
            return rounds.stored_json(value, files)
        case FilePart(kind, form, body, name):
            return rounds.stored_file(kind, form, body, name, files)


def _stored_shown(document: FoundDocument, parts: Sequence[Part], index: int, files: dict[str, bytes]) -> ResultPart:
    """What a document shows, in its stored form: the part that it belongs to, or a text of its own."""
    part = parts[index] if index < len(parts) else None
    if isinstance(part, FilePart):
        return _stored(part, files)
    text = document.content.get("text")
    if isinstance(text, str):
        return rounds.stored_text(text, files)
    value = document.content.get("json")
    return rounds.stored_json(value, files) if isinstance(value, Mapping) else {"text": ""}
